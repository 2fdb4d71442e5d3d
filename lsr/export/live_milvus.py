"""Milvus, or milvus-lite where the URL is a path, through pymilvus."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from itertools import islice
from typing import Any

from scipy import sparse

from lsr.errors import UserError
from lsr.export.engine import Engine
from lsr.export.live import LiveEngine, client_library, key, only_matches, told
from lsr.export.milvus import FIELD, INDEX, SEARCH, Milvus

_ROWS_AT_ONCE = 500
_SEARCHES_AT_ONCE = 100


class LiveMilvus(LiveEngine):
    """Loads under a name of its own, which becomes the collection's when all is in."""

    engine: Milvus

    def __init__(self, engine: Engine, url: str) -> None:
        super().__init__(engine, url)
        library = client_library("pymilvus", "pymilvus", "milvus")
        # Its log repeats every error with a traceback; the error itself is told.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        self._types = library.DataType
        self._errors: tuple[type[Exception], ...] = (library.MilvusException,)
        try:
            with told(self, *self._errors):
                self._client = library.MilvusClient(url, token=key() or "")
        except ImportError:
            raise UserError(
                f"--url {url} is a path, which needs milvus-lite; install it with: pip install milvus-lite"
            ) from None

    def load(self) -> None:
        """Create, fill, rename."""
        client, name = self._client, self.engine.collection
        building = f"{name}_building"
        with told(self, *self._errors):
            if client.has_collection(name):
                raise self.taken
            if client.has_collection(building):
                client.drop_collection(building)
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            for column in self.engine.columns:
                schema.add_field(column.name, getattr(self._types, column.kind), **column.parameters)
            index = client.prepare_index_params()
            index.add_index(FIELD, **INDEX)
            client.create_collection(building, schema=schema, index_params=index)
            try:
                for rows in _in_lists(self.engine.rows()):
                    client.insert(building, rows)
                client.flush(building)
                client.rename_collection(building, name)
            except BaseException:
                with contextlib.suppress(*self._errors):
                    client.drop_collection(building)
                raise

    def search(self, queries: sparse.csr_array, k: int) -> list[list[tuple[str, float]]]:
        """Ask for some queries at once."""
        name = self.engine.collection
        found: list[list[tuple[str, float]]] = [[] for _ in range(queries.shape[0])]
        # Milvus refuses an empty vector.
        rows = [row for row in range(queries.shape[0]) if queries.indptr[row] < queries.indptr[row + 1]]
        with told(self, *self._errors):
            if not self._client.has_collection(name):
                raise self.unfinished if self._client.has_collection(f"{name}_building") else self.missing
            self._client.load_collection(name)
            for first in range(0, len(rows), _SEARCHES_AT_ONCE):
                part = rows[first : first + _SEARCHES_AT_ONCE]
                answers = self._client.search(
                    name,
                    data=[self.engine.vector(queries[row : row + 1]) for row in part],
                    anns_field=FIELD,
                    limit=k,
                    output_fields=["id"],
                    search_params=SEARCH,
                )
                for row, answer in zip(part, answers, strict=True):
                    # Equal scores by the document's place, of those returned.
                    ranked = sorted(answer, key=lambda hit: (-hit["distance"], hit["number"]))
                    found[row] = only_matches([(hit["entity"]["id"], hit["distance"]) for hit in ranked])
        return found

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _in_lists(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while part := list(islice(rows, _ROWS_AT_ONCE)):
        yield part
