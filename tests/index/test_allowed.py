"""Searching within a set of documents gives what ranking that set by hand gives, by every algorithm."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from brute_force import assert_same_hits
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from lsr.index import Hits, Index, IndexProblem
from lsr.index.allowed import listed
from lsr.index.index import Algorithm

ALGORITHMS: list[Algorithm] = [name for name in get_args(Algorithm) if name != "auto"]
DOCUMENTS = 150_000  # three windows, the last one cut short


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple[Index, sparse.csr_array]:  # type: ignore[no-untyped-def]
    """Terms from frequent (every other document) to rare, and queries that mix them."""
    from lsr.index import DocumentRecord, IndexWriter

    generator = np.random.default_rng(0)
    frequencies = [75_000, 20_000, 20_000, 3000, 3000, 300, 300, 30, 3]
    rows = np.concatenate([generator.choice(DOCUMENTS, n, replace=False) for n in frequencies])
    columns = np.repeat(np.arange(len(frequencies)), frequencies)
    values = generator.integers(1, 20, len(rows)).astype(np.float32)
    weights = sparse.csr_array((values, (rows, columns)), shape=(DOCUMENTS, len(frequencies)))
    weights.sort_indices()
    folder = tmp_path_factory.mktemp("allowed") / "an.index"
    with IndexWriter(folder, encoder={}, impact_maximum=255.0) as writer:
        writer.add(weights, [DocumentRecord(str(i)) for i in range(DOCUMENTS)])
        writer.commit([str(i) for i in range(len(frequencies))])
    queries = sparse.csr_array(
        np.array([[1, 0.5, 2, 3, 1, 1, 2, 5, 7], [0, 0, 0, 1, 0, 2, 0, 3, 0], [1, 0, 0, 0, 0, 0, 0, 0, 0]]),
        dtype=np.float32,
    )
    return Index(folder), queries


def within(all_hits: Hits, mask: NDArray[np.bool_], k: int) -> Hits:
    """The first k of a full ranking that are allowed."""
    taken = mask[all_hits.documents]
    return Hits(all_hits.documents[taken][:k], all_hits.scores[taken][:k])


@given(
    share=st.sampled_from([0.0, 0.00002, 0.0005, 0.003, 0.006, 0.05, 0.6, 1.0]),
    only=st.sampled_from([(0, DOCUMENTS), (0, 65_536), (65_530, 65_540), (131_072, DOCUMENTS)]),
    k=st.sampled_from([1, 10, 1000]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25, deadline=None)
def test_filtered_search_equals_the_filtered_ranking(corpus, share, only, k, seed) -> None:  # type: ignore[no-untyped-def]
    index, queries = corpus
    full = index.search(queries, DOCUMENTS, algorithm="vectorised")
    mask = np.zeros(DOCUMENTS, np.bool_)
    mask[slice(*only)] = np.random.default_rng(seed).random(only[1] - only[0]) < share
    for algorithm in ALGORITHMS:
        for allowed in (mask, np.random.default_rng(1).permutation(np.flatnonzero(mask))):
            found = index.search(queries, k, algorithm=algorithm, allowed=allowed)
            for hits, everything in zip(found, full, strict=True):
                assert_same_hits(hits, within(everything, mask, k))
    # The accumulator is clean again.
    for one, other in zip(index.search(queries, 10, algorithm="exhaustive"), full, strict=True):
        assert_same_hits(one, within(other, np.ones(DOCUMENTS, np.bool_), 10))


def test_the_cost_falls_with_the_set(corpus) -> None:  # type: ignore[no-untyped-def]
    index, queries = corpus
    touched = []
    for members in (DOCUMENTS, 100, 10):
        mask = np.zeros(DOCUMENTS, np.bool_)
        mask[np.linspace(0, DOCUMENTS - 1, members).astype(int)] = True
        costs = index.costs(queries, algorithm="exhaustive", allowed=mask)
        touched.append(sum(cost.postings for segments in costs for cost in segments))
    assert touched[0] > 10 * touched[1] > 20 * touched[2]


def test_deleted_documents_are_never_found(corpus) -> None:  # type: ignore[no-untyped-def]
    index, queries = corpus
    full = index.search(queries, DOCUMENTS, algorithm="vectorised")
    generator = np.random.default_rng(3)
    live, mask = generator.random(DOCUMENTS) < 0.7, generator.random(DOCUMENTS) < 0.3
    kept = index._segments[0]
    index._segments[0] = replace(kept, live=live)
    try:
        for algorithm in ALGORITHMS:
            for hits, everything in zip(index.search(queries, 50, algorithm=algorithm), full, strict=True):
                assert_same_hits(hits, within(everything, live, 50))
            found = index.search(queries, 50, algorithm=algorithm, allowed=mask)
            for hits, everything in zip(found, full, strict=True):
                assert_same_hits(hits, within(everything, live & mask, 50))
    finally:
        index._segments[0] = kept


def test_filters_that_do_not_fit_are_refused(corpus) -> None:  # type: ignore[no-untyped-def]
    index, queries = corpus
    with pytest.raises(IndexProblem, match="has 150,000 documents"):
        index.search(queries, allowed=np.ones(3, np.bool_))
    with pytest.raises(IndexProblem, match="names the document 150000"):
        index.search(queries, allowed=np.array([1, DOCUMENTS]))
    with pytest.raises(IndexProblem, match="names the document -1"):
        index.search(queries, allowed=np.array([-1]))
    with pytest.raises(IndexProblem, match="document numbers, not float64"):
        index.search(queries, allowed=np.array([0.5]))
    for hits in index.search(queries, allowed=[]):
        assert len(hits.documents) == 0
    with pytest.raises(ValueError, match="a filter of 10 documents"):
        listed(np.ones(9, np.bool_), 10)
