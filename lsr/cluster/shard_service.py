"""One shard of an index, searched on the machine that holds it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.index import Hits, Index
from lsr.index.errors import FilterProblem
from lsr.index.warming import warming


class ShardQuery(NamedTuple):
    """A batch of queries as it travels to a shard.

    Attributes:
        starts, terms, weights: the batch as CSR parts, `width` columns wide.
        k: hits wanted of each.
        where: a filter over the documents' fields.
        seconds: a filter that takes longer is stopped.
    """

    starts: NDArray[np.int64]
    terms: NDArray[np.int64]
    weights: NDArray[np.float32]
    width: int
    k: int
    where: str | None
    seconds: float

    @classmethod
    def of(cls, queries: sparse.csr_array, k: int, where: str | None, seconds: float) -> ShardQuery:
        """Return a batch of query weights, shape (queries, vocabulary), in this form."""
        return cls(
            queries.indptr.astype(np.int64),
            queries.indices.astype(np.int64),
            queries.data.astype(np.float32, copy=False),
            queries.shape[1],
            k,
            where,
            seconds,
        )

    @property
    def queries(self) -> sparse.csr_array:
        """The batch, shape (queries, vocabulary)."""
        shape = (len(self.starts) - 1, self.width)
        return sparse.csr_array((self.weights, self.terms, self.starts), shape=shape)


class ShardAnswer(NamedTuple):
    """A shard's best documents of each query, numbered within the shard; or what is wrong with the filter."""

    hits: list[tuple[NDArray[np.int64], NDArray[np.float32]]]
    problem: str | None = None


class ShardService:
    """Searches one shard. Safe to use from several threads.

    Args:
        folder: the sharded index.
        name: the shard's folder in it.
        fields: the fields of all shards together, with their types: a filter means the same everywhere.
    """

    def __init__(self, folder: str, name: str, fields: Mapping[str, Any]) -> None:
        self._index = Index(Path(folder) / name)
        # In place of those that the shard itself would find in its own documents.
        self._index.__dict__["fields"] = dict(fields)
        warming.wait()

    def search(self, query: ShardQuery) -> ShardAnswer:
        """Return the best documents of the shard."""
        allowed = None
        if query.where is not None:
            try:
                allowed = self._index.matching(query.where, query.seconds)
            except FilterProblem as error:
                return ShardAnswer([], str(error))
        found: list[Hits] = self._index.search(query.queries, query.k, allowed=allowed)
        return ShardAnswer([(hits.documents, hits.scores) for hits in found])
