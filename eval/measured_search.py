"""Searching for the queries of a data set, against the clock."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.corpus import Query
from lsr.eval.datasets import Dataset
from lsr.eval.environment import machine
from lsr.eval.evaluation import Cost, Latency
from lsr.eval.progress import Progress
from lsr.eval.rankings import Rankings, RankingsBuilder
from lsr.eval.systems.base import Encoded, Engine

TIMED_QUERIES = 200
TIMED_DEPTH = 10

_SEARCH_BATCH = 1024
_ENCODE_BATCH = 4096


@dataclass(frozen=True)
class Measured:
    """What a system found, and what that took."""

    rankings: Rankings
    cost: Cost
    milliseconds: NDArray[np.float64]
    """Of each timed query alone, shape (2, timed queries): searching, and encoding and searching.

    They are the same queries for every system.
    """


def measure(
    engine: Engine, dataset: Dataset, k: int, *, drop_query_document: bool, threads: int, progress: Progress
) -> Measured:
    """Encode and search for every query of a data set.

    With `drop_query_document`, the document with the query's id is left out and `k` others remain.
    """
    encoded, encode_seconds = _encode(engine, dataset, progress)
    # Kernels are compiled or loaded before the clock runs.
    _warm_up(engine, encoded, k, threads)
    rankings, search_seconds = _search(
        engine,
        dataset,
        encoded,
        k,
        drop_query_document=drop_query_document,
        threads=threads,
        progress=progress,
    )
    milliseconds = _time_single_queries(engine, encoded, dataset.queries)
    sizes = engine.sizes(encoded)
    touched = engine.touched(_at(encoded, timed_places(len(dataset.queries))), TIMED_DEPTH)
    cost = Cost(
        documents=engine.document_count,
        **sizes._asdict(),
        **touched._asdict(),
        index_bytes=engine.index_bytes,
        **engine.times._asdict(),
        query_encode_seconds=encode_seconds if engine.encodes_queries else None,
        search_seconds=search_seconds,
        threads=threads,
        latency=latency_of(milliseconds[0]),
        answer=latency_of(milliseconds[1]),
        machine=machine()["processor"],
    )
    return Measured(rankings, cost, milliseconds)


def timed_places(count: int) -> list[int]:
    """Return the places of the queries that are timed alone: up to 200, spread over all."""
    places = np.unique(np.linspace(0, count - 1, min(TIMED_QUERIES, count)).round().astype(np.int64))
    return [int(place) for place in places]


def latency_of(milliseconds: NDArray[np.float64]) -> Latency:
    """Return the percentiles of single queries' times."""
    p50, p95, p99 = (float(value) for value in np.percentile(milliseconds, (50, 95, 99)))
    return Latency(queries=len(milliseconds), k=TIMED_DEPTH, p50=p50, p95=p95, p99=p99)


def without_query_document(
    query_id: str, ids: list[str], scores: NDArray[Any], k: int
) -> tuple[list[str], NDArray[Any]]:
    """Return the first `k` of a ranking without the document that has the query's id."""
    kept = [place for place, document_id in enumerate(ids) if document_id != query_id][:k]
    return [ids[place] for place in kept], scores[kept]


def _encode(engine: Engine, dataset: Dataset, progress: Progress) -> tuple[Encoded, float]:
    """Return the queries encoded and the seconds that took."""
    seconds = 0.0
    parts = []
    with progress(f"Encoding queries of {dataset.name}", total=len(dataset.queries), unit="queries") as shown:
        for first in range(0, len(dataset.queries), _ENCODE_BATCH):
            batch = dataset.queries[first : first + _ENCODE_BATCH]
            start = time.perf_counter()
            parts.append(engine.encode(batch))
            seconds += time.perf_counter() - start
            shown.advance(len(batch))
    return _joined(parts), seconds


def _warm_up(engine: Engine, encoded: Encoded, k: int, threads: int) -> None:
    from lsr.index.warming import warming

    warming.wait()
    for depth in (k, TIMED_DEPTH):
        engine.search(encoded[:1], depth, threads)


def _search(
    engine: Engine,
    dataset: Dataset,
    encoded: Encoded,
    k: int,
    *,
    drop_query_document: bool,
    threads: int,
    progress: Progress,
) -> tuple[Rankings, float]:
    depth = k + 1 if drop_query_document else k
    builder = RankingsBuilder()
    seconds = 0.0
    with progress(f"Searching {dataset.name}", total=len(dataset.queries), unit="queries") as shown:
        for first in range(0, len(dataset.queries), _SEARCH_BATCH):
            batch = dataset.queries[first : first + _SEARCH_BATCH]
            start = time.perf_counter()
            found = engine.search(encoded[first : first + len(batch)], depth, threads)
            seconds += time.perf_counter() - start
            for query, (ids, scores) in zip(batch, found, strict=True):
                if drop_query_document:
                    ids, scores = without_query_document(query.id, ids, scores, k)
                builder.add(query.id, ids, scores)
            shown.advance(len(batch))
    return builder.build(), seconds


def _time_single_queries(engine: Engine, encoded: Encoded, queries: Sequence[Query]) -> NDArray[np.float64]:
    times = []
    for place in timed_places(len(queries)):
        start = time.perf_counter()
        if engine.encodes_queries:
            engine.encode(queries[place : place + 1])
        middle = time.perf_counter()
        engine.search(encoded[place : place + 1], TIMED_DEPTH, 1)
        end = time.perf_counter()
        times.append((end - middle, end - start))
    return 1000 * np.array(times, np.float64).T


def _at(encoded: Encoded, places: list[int]) -> Encoded:
    return [encoded[place] for place in places] if isinstance(encoded, list) else encoded[places]


def _joined(parts: list[Encoded]) -> Encoded:
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], list):
        return [query for part in parts for query in part]
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return sparse.csr_array(sparse.vstack(parts, format="csr"))
