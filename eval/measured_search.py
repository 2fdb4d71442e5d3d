"""Searching for the queries of a data set, against the clock."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.eval.datasets import Dataset
from lsr.eval.evaluation import Latency
from lsr.eval.metrics import Judge
from lsr.eval.progress import Progress
from lsr.eval.runs import RunWriter

if TYPE_CHECKING:
    from lsr.index import Hits
    from lsr.index.index import Algorithm
    from lsr.retrieval import Searcher

_ALGORITHM: Algorithm = "exhaustive"
_SEARCH_BATCH = 1024
_ENCODE_BATCH = 4096
_TIMED_QUERIES = 200
_TIMED_DEPTH = 10


def encode_queries(
    searcher: Searcher, dataset: Dataset, progress: Progress
) -> tuple[sparse.csr_array, float]:
    """Return the weights of the queries, shape (queries, vocabulary), and the seconds that took.

    Queries that came with vectors are taken as they are.
    """
    vectors = [query.vector for query in dataset.queries if query.vector is not None]
    if len(vectors) == len(dataset.queries):
        return searcher.vector_queries(vectors), 0.0
    texts = [query.text for query in dataset.queries]
    seconds = 0.0
    parts = []
    with progress(f"Encoding queries of {dataset.name}", total=len(texts), unit="queries") as shown:
        for first in range(0, len(texts), _ENCODE_BATCH):
            batch = texts[first : first + _ENCODE_BATCH]
            start = time.perf_counter()
            parts.append(searcher.encode_queries(batch))
            seconds += time.perf_counter() - start
            shown.advance(len(batch))
    return sparse.csr_array(sparse.vstack(parts, format="csr")), seconds


def search_and_judge(
    searcher: Searcher,
    dataset: Dataset,
    queries: sparse.csr_array,
    k: int,
    *,
    drop_query_document: bool,
    judge: Judge,
    run: RunWriter | None,
    progress: Progress,
) -> float:
    """Search for every query, hand the rankings to `judge` and `run`, return the seconds of searching.

    With `drop_query_document`, the document with the query's id is left out and `k` others remain.
    """
    depth = k + 1 if drop_query_document else k
    # Kernels are compiled or loaded before the clock runs.
    searcher.search_weights(queries[:1], depth, algorithm=_ALGORITHM)
    seconds = 0.0
    with progress(f"Searching {dataset.name}", total=len(dataset.queries), unit="queries") as shown:
        for first in range(0, len(dataset.queries), _SEARCH_BATCH):
            batch = dataset.queries[first : first + _SEARCH_BATCH]
            weights = queries[first : first + len(batch)]
            start = time.perf_counter()
            found = searcher.search_weights(weights, depth, algorithm=_ALGORITHM)
            seconds += time.perf_counter() - start
            for query, hits, ids in zip(batch, found, _ids(searcher, found), strict=True):
                scores = hits.scores
                if drop_query_document:
                    kept = [place for place, document_id in enumerate(ids) if document_id != query.id][:k]
                    ids, scores = [ids[place] for place in kept], scores[kept]
                judge.add(query.id, ids)
                if run is not None:
                    run.write(query.id, ids, scores)
            shown.advance(len(batch))
    return seconds


def measure_latency(searcher: Searcher, queries: sparse.csr_array) -> Latency:
    """Time up to 200 queries, spread over the set, each searched for alone to depth 10."""
    rows = np.unique(np.linspace(0, queries.shape[0] - 1, _TIMED_QUERIES).round().astype(np.int64))
    milliseconds = []
    for row in rows.tolist():
        query = queries[row : row + 1]
        start = time.perf_counter()
        searcher.search_weights(query, _TIMED_DEPTH, algorithm=_ALGORITHM)
        milliseconds.append((time.perf_counter() - start) * 1000)
    p50, p95, p99 = (float(value) for value in np.percentile(milliseconds, (50, 95, 99)))
    return Latency(queries=len(rows), k=_TIMED_DEPTH, p50=p50, p95=p95, p99=p99)


def _ids(searcher: Searcher, found: Sequence[Hits]) -> list[list[str]]:
    """Return the document ids of each ranking, looking up every document once."""
    numbers: NDArray[np.int64] = np.concatenate([hits.documents for hits in found])
    distinct, places = np.unique(numbers, return_inverse=True)
    names = searcher.document_ids(distinct)
    ends = np.cumsum([len(hits.documents) for hits in found])[:-1]
    return [[names[place] for place in part.tolist()] for part in np.split(places, ends)]
