"""What evaluations ask of a system: an encoder and an index, a dense model, Lucene, and what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lsr.eval.cache import Cache
from lsr.eval.datasets import Dataset
from lsr.eval.progress import Progress, silent
from lsr.eval.rankings import Rankings, Scored

if TYPE_CHECKING:
    from lsr.corpus import Query
    from lsr.eval.checksums import Checksums
    from lsr.retrieval import TermScore


@dataclass(frozen=True)
class Workspace:
    """What a system has at hand on one data set."""

    dataset: Dataset
    checksums: Checksums
    cache: Cache
    threads: int = 1
    progress: Progress = field(default=silent)
    index: Path | None = None
    """An index to search, or to build and keep, in place of the cache's."""


class Sizes(NamedTuple):
    """How big queries and documents are to a system, as far as it has such a thing."""

    mean_document_terms: float | None = None
    mean_query_terms: float | None = None
    flops: float | None = None


class Touched(NamedTuple):
    """What searches read: means over queries, and the algorithm."""

    postings: float | None = None
    blocks: float | None = None
    algorithm: str | None = None


class BuildTimes(NamedTuple):
    """Seconds that making an engine ready took, when that was done; None where nothing was."""

    index_seconds: float | None = None
    encode_seconds: float | None = None


Encoded = Any
"""Queries as an engine takes them; slices of it are batches: a CSR matrix, an array, a list."""


class Engine(Protocol):
    """A system made ready for one data set. Close it when done."""

    encoder: str
    """The name of the encoder or the model."""
    document_count: int
    index_bytes: int | None
    times: BuildTimes
    notes: tuple[str, ...]
    encodes_queries: bool
    """Whether `encode` does work that is worth timing."""

    def encode(self, queries: Sequence[Query]) -> Encoded:
        """Return queries as `search` takes them."""

    def search(self, encoded: Encoded, k: int, threads: int) -> list[Scored]:
        """Return the k best documents of each query, best first."""

    def sizes(self, encoded: Encoded) -> Sizes:
        """Return how big queries and documents are."""

    def touched(self, encoded: Encoded, k: int) -> Touched:
        """Return what searching reads."""

    def explain(self, query: Query, document_id: str) -> list[TermScore] | None:
        """Return what each term earned a document, None where a system has no terms."""

    def close(self) -> None:
        """Let go of files and memory."""


@runtime_checkable
class System(Protocol):
    """A system that searches a corpus by itself."""

    label: str
    spec: str
    """How it was asked for."""

    def identity(self) -> dict[str, Any]:
        """Return all that its rankings depend on but the data set, as JSON values, fingerprint included."""

    def open(self, workspace: Workspace) -> Engine:
        """Make the system ready for a data set: what the cache has is taken from there."""


class Derived(NamedTuple):
    """Rankings made of others."""

    rankings: Rankings
    parameters: dict[str, Any]
    """What was tuned on the data set, as JSON values."""
    seconds: float
    query_milliseconds: NDArray[np.float64] | None = None
    """What each query took on top of its parts, shape (queries,), where that is a search's cost."""
    notes: tuple[str, ...] = ()


@runtime_checkable
class DerivedSystem(Protocol):
    """A system that works on what others found: a fusion, a re-ranking."""

    label: str
    spec: str
    parts: tuple[str, ...]
    """Labels of the systems whose rankings it takes."""

    def identity(self) -> dict[str, Any]:
        """Return all that its rankings depend on but its parts and the data set, as JSON values."""

    def derive(self, workspace: Workspace, parts: Sequence[Rankings], k: int) -> Derived:
        """Return rankings of `k` documents made of those of the parts."""
