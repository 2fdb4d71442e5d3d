"""Qdrant through qdrant-client, or its local mode where the URL is a path."""

from __future__ import annotations

import contextlib
from itertools import islice
from typing import Any

from scipy import sparse

from lsr.export.engine import Engine
from lsr.export.live import LiveEngine, client_library, key, only_matches, told
from lsr.export.qdrant import FIELD, Qdrant

_POINTS_AT_ONCE = 200
_SEARCHES_AT_ONCE = 100
_SECONDS = 120


class LiveQdrant(LiveEngine):
    """A collection whose metadata says when all points are in it."""

    engine: Qdrant

    def __init__(self, engine: Engine, url: str) -> None:
        super().__init__(engine, url)
        library = client_library("qdrant_client", "qdrant-client", "qdrant")
        exceptions = client_library("qdrant_client.http.exceptions", "qdrant-client", "qdrant")
        self._models = library.models
        self._errors: tuple[type[Exception], ...] = (
            exceptions.ApiException,
            ValueError,
            RuntimeError,
            OSError,
        )
        with told(self, *self._errors):
            if "://" in url:
                self._client = library.QdrantClient(url=url, api_key=key(), timeout=_SECONDS)
            else:
                self._client = library.QdrantClient(path=url)

    def load(self) -> None:
        """Create, fill, mark as complete."""
        client, models, name = self._client, self._models, self.engine.collection
        with told(self, *self._errors):
            if client.collection_exists(name):
                raise self.taken
            client.create_collection(
                name,
                vectors_config={},
                sparse_vectors_config={FIELD: models.SparseVectorParams()},
                metadata={"lsr": {**self.engine.about(), "complete": False}},
            )
            try:
                points = self.engine.points()
                while part := [self._point(point) for point in islice(points, _POINTS_AT_ONCE)]:
                    client.upsert(name, part, wait=True)
                client.update_collection(name, metadata={"lsr": {**self.engine.about(), "complete": True}})
            except BaseException:
                with contextlib.suppress(*self._errors):
                    client.delete_collection(name)
                raise

    def _point(self, point: dict[str, Any]) -> Any:
        models = self._models
        vectors = {name: models.SparseVector(**vector) for name, vector in point["vector"].items()}
        return models.PointStruct(id=point["id"], payload=point["payload"], vector=vectors)

    def search(self, queries: sparse.csr_array, k: int) -> list[list[tuple[str, float]]]:
        """Ask for some queries at once."""
        client, models, name = self._client, self._models, self.engine.collection
        found: list[list[tuple[str, float]]] = [[] for _ in range(queries.shape[0])]
        rows = [row for row in range(queries.shape[0]) if queries.indptr[row] < queries.indptr[row + 1]]
        with told(self, *self._errors):
            if not client.collection_exists(name):
                raise self.missing
            about = (client.get_collection(name).config.metadata or {}).get("lsr", {})
            if about.get("complete") is False:
                raise self.unfinished
            for first in range(0, len(rows), _SEARCHES_AT_ONCE):
                part = rows[first : first + _SEARCHES_AT_ONCE]
                requests = []
                for row in part:
                    body = self.engine.query(queries[row : row + 1], k)
                    requests.append(
                        models.QueryRequest(
                            query=models.SparseVector(**body["query"]),
                            using=FIELD,
                            limit=k,
                            with_payload=["id"],
                        )
                    )
                answers = client.query_batch_points(name, requests=requests)
                for row, answer in zip(part, answers, strict=True):
                    # Equal scores by the document's place, of those returned.
                    ranked = sorted(answer.points, key=lambda point: (-point.score, point.id))
                    found[row] = only_matches([(point.payload["id"], point.score) for point in ranked])
        return found

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
