"""Searching with another engine, with this program's queries and results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import sparse

from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.export.engine import check_collection_name, collection_name, engine_for
from lsr.export.live import live_engine
from lsr.export.source import ExportSource
from lsr.index import Hits
from lsr.index.planner import Algorithm
from lsr.retrieval.searcher import Searcher


class EngineSearcher(Searcher):
    """An index, whose queries a running engine answers that it was exported to.

    Queries are encoded, and documents and explanations taken, from the index as ever: the engine
    ranks.

    Args:
        folder: the index that was exported.
        engine: one of `lsr.export.live.LIVE`.
        url: where it runs; for milvus-lite and Qdrant's local mode a path.
        collection: what the engine calls it; None takes the index's name.
        options: of the query encoder.

    Raises:
        UserError: where the engine's client is not installed, or `engine` takes files only.
    """

    def __init__(
        self,
        folder: str | Path,
        engine: str,
        url: str,
        *,
        collection: str | None = None,
        options: EncoderOptions | None = None,
    ) -> None:
        super().__init__(folder, options=options)
        name = collection or collection_name(Path(folder))
        check_collection_name(name)
        source = ExportSource(self.index, self.encoder)
        self._live = live_engine(engine_for(engine, source, name), url)

    def search_weights(
        self,
        queries: sparse.csr_array,
        k: int = 10,
        *,
        where: str | None = None,
        algorithm: Algorithm = "auto",
        recall: float = 1.0,
    ) -> list[Hits]:
        """Return the engine's k best documents of each query; `algorithm` and `recall` are this index's alone.

        Raises:
            UserError: for a filter, which the engine does not know, and where the engine has
                documents that the index lacks.
        """
        if where is not None:
            raise UserError("--where filters by this index; leave it out where another engine searches.")
        found = self._live.search(queries, k)
        ids = list(dict.fromkeys(id_ for hits in found for id_, _ in hits))
        numbers = dict(zip(ids, self.index.document_numbers(ids).tolist(), strict=True))
        for id_, number in numbers.items():
            if number < 0:
                raise UserError(
                    f"{self._live.engine.title} returned the document {id_!r}, which {self.index.folder} lacks: the "
                    "two have diverged; export the index again."
                )
        return [
            Hits(
                np.array([numbers[id_] for id_, _ in hits], np.int64),
                np.array([score for _, score in hits], np.float32),
            )
            for hits in found
        ]

    def close(self) -> None:
        """Close the connection and the index."""
        self._live.close()
        super().close()
