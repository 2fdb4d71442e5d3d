"""The figures of one encoder on one data set."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lsr.eval.metrics import Scores


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds to search for one query, each alone and on one thread; its encoding not included."""

    queries: int
    """How many queries were timed."""
    k: int
    """How many documents each asked for."""
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Quality, sparsity, size and speed of one encoder on one data set.

    Times are wall-clock seconds. What was not done (an index that existed already was not built)
    is None.
    """

    dataset: str
    encoder: str
    documents: int
    queries: int
    k: int
    """Depth of the ranking."""
    metrics: dict[str, float]
    """Means over the queries, by ranx's names: ``ndcg@10`` and so on."""
    mean_document_terms: float
    mean_query_terms: float
    flops: float
    """Expected number of terms that a query and a document share."""
    index_bytes: int
    """Bytes of the index without the stored texts."""
    index_seconds: float | None
    """From reading the corpus to the finished index, encoding included."""
    encode_seconds: float | None
    """Encoding the documents."""
    query_encode_seconds: float
    search_seconds: float
    """Searching for all queries to depth `k` on `threads` threads, encoding not included."""
    threads: int
    latency: Latency
    scores: Scores
    """The metrics of every query."""
    run: Path | None = None
    """Where the ranking was written."""
    notes: tuple[str, ...] = ()

    @property
    def encode_documents_per_second(self) -> float | None:
        """Documents encoded in a second; None where none was."""
        return self.documents / self.encode_seconds if self.encode_seconds else None

    @property
    def search_queries_per_second(self) -> float:
        """Queries searched for in a second, on `threads` threads."""
        return self.queries / self.search_seconds if self.search_seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values, metrics by name, without the values of single queries."""
        record: dict[str, Any] = {
            "dataset": self.dataset,
            "encoder": self.encoder,
            "documents": self.documents,
            "queries": self.queries,
            "k": self.k,
            **self.metrics,
            "mean_document_terms": self.mean_document_terms,
            "mean_query_terms": self.mean_query_terms,
            "flops": self.flops,
            "index_bytes": self.index_bytes,
            "index_seconds": self.index_seconds,
            "encode_seconds": self.encode_seconds,
            "encode_documents_per_second": self.encode_documents_per_second,
            "query_encode_seconds": self.query_encode_seconds,
            "search_seconds": self.search_seconds,
            "search_queries_per_second": self.search_queries_per_second,
            "threads": self.threads,
        }
        for field in fields(self.latency):
            record[f"latency_{field.name}"] = getattr(self.latency, field.name)
        record["run"] = None if self.run is None else str(self.run)
        record["notes"] = list(self.notes)
        return record
