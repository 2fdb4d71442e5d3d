"""What Prometheus is told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from lsr.serving.interface import Answer, Change, IndexInfo, ServedIndex

# Where several processes of a service keep figures that any of them tells; prometheus_client's name for it.
SHARED_FIGURES = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)
_SEARCH_SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5)

_METHODS = frozenset(("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"))


class Metrics:
    """Counters and histograms of one service; several in a process do not mix."""

    def __init__(self, indexes: Mapping[str, ServedIndex]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "lsr_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "lsr_request_seconds",
            "Time from a request's headers to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.queries = Counter("lsr_queries", "Queries answered.", ["index"], registry=self.registry)
        self.search_seconds = Histogram(
            "lsr_search_seconds",
            "Time in the index for one request's queries, without encoding them and showing results.",
            ["index"],
            buckets=_SEARCH_SECONDS,
            registry=self.registry,
        )
        self.encode_seconds = Histogram(
            "lsr_encode_seconds",
            "Time for encoding one request's queries.",
            ["index"],
            buckets=_SEARCH_SECONDS,
            registry=self.registry,
        )
        self.changed = Counter(
            "lsr_documents_changed", "Documents changed.", ["index", "change"], registry=self.registry
        )
        self.open_requests = Gauge(
            "lsr_open_requests",
            "Requests that are being answered.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._indexes = _Indexes(indexes)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; `route` is the pattern of its path, of which there are few."""
        self.requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self.request_seconds.labels(route).observe(seconds)

    def searched(self, index: str, queries: int, answer: Answer) -> None:
        """Count the queries of one request."""
        self.queries.labels(index).inc(queries)
        self.encode_seconds.labels(index).observe(answer.encode_seconds)
        self.search_seconds.labels(index).observe(answer.search_seconds)

    def changed_documents(self, index: str, change: Change) -> None:
        """Count what a change came to."""
        for kind, count in (("add", change.added), ("replace", change.replaced), ("delete", change.deleted)):
            if count:
                self.changed.labels(index, kind).inc(count)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format, the figures of all processes together."""
        told = self.registry
        if SHARED_FIGURES in os.environ:
            told = CollectorRegistry()
            MultiProcessCollector(told)  # type: ignore[no-untyped-call]
        alone = CollectorRegistry()
        alone.register(self._indexes)
        return generate_latest(told) + generate_latest(alone)


class _Indexes(Collector):
    """What indexes hold, looked up when asked for."""

    _GAUGES: tuple[tuple[str, str, Callable[[IndexInfo], float]], ...] = (
        ("lsr_index_documents", "Documents that are not deleted.", lambda info: info.documents),
        ("lsr_index_deleted", "Deleted documents whose traces are there still.", lambda info: info.deleted),
        ("lsr_index_segments", "Segments.", lambda info: info.segments),
        ("lsr_index_postings", "Postings.", lambda info: info.postings),
        ("lsr_index_bytes", "Bytes on disk.", lambda info: info.bytes),
        ("lsr_index_missing_shards", "Parts that do not answer.", lambda info: len(info.missing_shards)),
    )

    def __init__(self, indexes: Mapping[str, ServedIndex]) -> None:
        self._served = indexes

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return one gauge for each figure."""
        infos = {name: index.info() for name, index in self._served.items()}
        for name, help_, value in self._GAUGES:
            gauge = GaugeMetricFamily(name, help_, labels=["index"])
            for index, info in infos.items():
                gauge.add_metric([index], value(info))
            yield gauge
