"""The figures of one system on one data set."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lsr.eval.metrics import Scores


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds to answer one query, each alone, searched for on one thread."""

    queries: int
    """How many queries were timed."""
    k: int
    """How many documents each asked for."""
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What a system takes on one data set. None where a system has no such thing, or it was not done.

    Times are wall-clock seconds.
    """

    documents: int
    mean_document_terms: float | None = None
    mean_query_terms: float | None = None
    flops: float | None = None
    """Expected number of terms that a query and a document share."""
    postings: float | None = None
    """Mean postings read for a query, as it was timed for `latency`."""
    blocks: float | None = None
    """Mean blocks scored for a query; 0 where the algorithm does not work by blocks."""
    algorithm: str | None = None
    """How the index was searched."""
    index_bytes: int | None = None
    """Bytes of the index without the stored texts."""
    index_seconds: float | None = None
    """From reading the corpus to the finished index, encoding included; when it was built."""
    encode_seconds: float | None = None
    """Encoding the documents, when that was done."""
    query_encode_seconds: float | None = None
    search_seconds: float | None = None
    """Searching for all queries to full depth on `threads` threads, encoding not included."""
    threads: int = 1
    latency: Latency | None = None
    """Searching for a query that is encoded."""
    answer: Latency | None = None
    """From a query's text to its documents: encoding it alone, and searching."""
    machine: str | None = None
    """The processor that all this was timed on."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Cost:
        """Return what `as_dict` gave."""
        names = {field.name for field in fields(cls)}
        known = {name: value for name, value in record.items() if name in names}
        for name in ("latency", "answer"):
            known[name] = Latency(**known[name]) if known.get(name) else None
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Quality and cost of one system on one data set."""

    dataset: str
    system: str
    """What the system is called in tables."""
    encoder: str
    """The encoder's or model's name."""
    queries: int
    k: int
    """Depth of the ranking."""
    scores: Scores
    """The metrics of every query."""
    cost: Cost
    group: str | None = None
    """What the data set is averaged into."""
    settings: dict[str, Any] | None = None
    """What the system was, with its fingerprint, as JSON values; parameters tuned on the data set too."""
    run: Path | None = None
    """Where the ranking was written."""
    notes: tuple[str, ...] = ()
    from_cache: bool = False
    """Whether an earlier run had measured this."""

    @property
    def metrics(self) -> dict[str, float]:
        """Means over the queries, by ranx's names: ``ndcg@10`` and so on."""
        return self.scores.mean()

    @property
    def documents(self) -> int:
        """Documents of the corpus."""
        return self.cost.documents

    @property
    def encode_documents_per_second(self) -> float | None:
        """Documents encoded in a second; None where none was."""
        seconds = self.cost.encode_seconds
        return self.documents / seconds if seconds else None

    @property
    def query_encode_milliseconds(self) -> float | None:
        """Milliseconds to encode a query, in batches; None where queries are not encoded."""
        seconds = self.cost.query_encode_seconds
        return None if seconds is None else 1000 * seconds / max(self.queries, 1)

    @property
    def search_queries_per_second(self) -> float | None:
        """Queries searched for in a second, on all threads."""
        seconds = self.cost.search_seconds
        return self.queries / seconds if seconds else None

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values, metrics by name, without the values of single queries."""
        cost = self.cost.as_dict()
        latency, answer = cost.pop("latency") or {}, cost.pop("answer") or {}
        record: dict[str, Any] = {
            "dataset": self.dataset,
            "system": self.system,
            "encoder": self.encoder,
            "documents": cost.pop("documents"),
            "queries": self.queries,
            "k": self.k,
            **self.metrics,
            "unjudged@10": self.scores.unjudged_share,
            **cost,
            "encode_documents_per_second": self.encode_documents_per_second,
            "query_encode_milliseconds": self.query_encode_milliseconds,
            "search_queries_per_second": self.search_queries_per_second,
        }
        for name in ("queries", "k", "p50", "p95", "p99"):
            record[f"latency_{name}"] = latency.get(name)
        for name in ("p50", "p95", "p99"):
            record[f"answer_{name}"] = answer.get(name)
        record["run"] = None if self.run is None else str(self.run)
        record["notes"] = list(self.notes)
        return record
