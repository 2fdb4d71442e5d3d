"""Every algorithm returns the documents, score bits and order of brute force over the stored impacts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from brute_force import assert_same_hits, hits_by_hand, on_grid
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lsr.index import DocumentRecord, Index, IndexProblem, IndexWriter
from lsr.index.grid import ImpactBits
from lsr.index.index import Algorithm

ALGORITHMS: list[Algorithm] = [name for name in get_args(Algorithm) if name != "auto"]

# Few distinct values make ties; the others span twelve orders of magnitude.
WEIGHTS = st.one_of(
    st.sampled_from([1.0, 0.5, 0.25]),
    st.floats(2.0**-30, 2.0**10, width=32),
)


@st.composite
def corpora(draw: st.DrawFn) -> tuple[sparse.csr_array, sparse.csr_array, int, ImpactBits]:
    """Documents (empty ones too), queries (empty ones and unknown terms too), k, impact bits."""
    terms = draw(st.sampled_from([1, 3, 20, 70_000]))
    ids = st.integers(0, terms - 1) | st.integers(max(0, terms - 3), terms - 1)
    rows = draw(st.lists(st.dictionaries(ids, WEIGHTS, max_size=6), min_size=1, max_size=30))
    queries = draw(st.lists(st.dictionaries(ids, WEIGHTS | st.just(0.0), max_size=5), min_size=1, max_size=4))
    k = draw(st.sampled_from([1, 2, 3, 10, 100]))
    return _rows(rows, terms), _rows(queries, terms), k, draw(st.sampled_from([8, 16]))


def _rows(rows: list[dict[int, float]], width: int) -> sparse.csr_array:
    lengths = [len(row) for row in rows]
    matrix = sparse.csr_array(
        (
            np.array([w for row in rows for w in row.values()], np.float32),
            np.array([t for row in rows for t in row], np.int64),
            np.concatenate([[0], np.cumsum(lengths)]),
        ),
        shape=(len(rows), width),
    )
    matrix.sort_indices()
    return matrix


@pytest.fixture(scope="module", autouse=True)
def block_maxima_for_small_segments() -> Iterator[None]:
    """Block maxima for every segment and, where that is a matter of size, every term."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lsr.index.block_writer.LEAST_DOCUMENTS", 0)
        patch.setattr("lsr.index.block_writer.MOST_BYTES_A_POSTING", 20.0)
        yield


@given(corpora())
@settings(max_examples=150, deadline=None)
def test_search_equals_brute_force(
    case: tuple[sparse.csr_array, sparse.csr_array, int, ImpactBits],
) -> None:
    weights, queries, k, bits = case
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "an.index"
        with IndexWriter(path, encoder={}, impact_bits=bits) as writer:
            writer.add(weights, [DocumentRecord(str(i)) for i in range(weights.shape[0])])
            writer.commit([str(i) for i in range(weights.shape[1])])
        with Index(path) as index:
            stored = on_grid(weights, index.manifest.grid)
            for algorithm in ALGORITHMS:
                found = index.search(queries, k, algorithm=algorithm)
                for i, hits in enumerate(found):
                    assert_same_hits(hits, hits_by_hand(stored, queries[[i]], k))


def _random(documents: int, terms: int, density: float, seed: int = 0) -> sparse.csr_array:
    generator = np.random.default_rng(seed)
    matrix = sparse.random_array(
        (documents, terms), density=density, rng=generator, dtype=np.float32, format="csr"
    )
    matrix.data = generator.gamma(0.5, 1.0, matrix.nnz).astype(np.float32) + np.float32(1e-6)
    matrix.sort_indices()
    return matrix


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("documents", [1, 63, 64, 65, 65_535, 65_536, 65_537, 200_000])
def test_window_edges(build, documents, algorithm) -> None:  # type: ignore[no-untyped-def]
    weights = _random(documents, 40, 0.05, documents)
    queries = _random(5, 40, 0.3, 1)
    index = build(weights)
    grid = index.manifest.grid
    stored = weights.copy()
    stored.data = grid.decode(grid.encode(weights.data))
    dense = np.zeros((5, documents), np.float32)
    by_term = stored.tocsc()
    for q in range(5):
        for j in range(queries.indptr[q], queries.indptr[q + 1]):
            term = queries.indices[j]
            part = slice(by_term.indptr[term], by_term.indptr[term + 1])
            dense[q, by_term.indices[part]] += queries.data[j] * by_term.data[part]
    for k in (1, 10, 1000):
        for q, hits in enumerate(index.search(queries, k, algorithm=algorithm)):
            order = np.lexsort((np.arange(documents), -dense[q]))[:k]
            order = order[dense[q][order] > 0]
            assert hits.documents.tolist() == order.tolist()
            assert hits.scores.tobytes() == dense[q][order].tobytes()


def test_equal_scores_are_ordered_by_the_earlier_document(build) -> None:  # type: ignore[no-untyped-def]
    weights = sparse.csr_array(np.ones((5000, 1), np.float32))
    query = sparse.csr_array(np.ones((1, 1), np.float32))
    index = build(weights)
    for algorithm in ALGORITHMS:
        hits = index.search(query, 7, algorithm=algorithm)[0]
        assert hits.documents.tolist() == list(range(7))


def test_tiny_weights_never_round_to_nothing(build) -> None:  # type: ignore[no-untyped-def]
    weights = sparse.csr_array(np.array([[1e-9, 0], [1e3, 0], [0, 1e-9]], np.float32))
    index = build(weights)
    query = sparse.csr_array(np.array([[0, 1.0]], np.float32))
    assert index.search(query, 10)[0].documents.tolist() == [2]
    assert index.manifest.segments[0].postings == 3


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf, -np.inf])
def test_weights_that_are_no_weights_are_refused(build, bad) -> None:  # type: ignore[no-untyped-def]
    wrong = sparse.csr_array(np.array([[1.0, bad]], np.float32))
    with pytest.raises(IndexProblem, match="'d0' has the term weight"):
        build(wrong)
    index = build(sparse.csr_array(np.ones((2, 2), np.float32)))
    with pytest.raises(IndexProblem, match="query has the term weight"):
        index.search(wrong)


def test_unknown_terms_and_wider_queries_match_nothing(build) -> None:  # type: ignore[no-untyped-def]
    index = build(sparse.csr_array(np.array([[1.0, 0], [0, 0]], np.float32)))
    wide = sparse.csr_array(np.array([[0, 5.0, 7.0, 9.0], [2.0, 0, 0, 1.0]], np.float32))
    for algorithm in ALGORITHMS:
        nothing, one = index.search(wide, 5, algorithm=algorithm)
        assert len(nothing.documents) == 0
        assert one.documents.tolist() == [0]
        assert one.scores.tolist() == [2.0]


def test_k_must_be_positive(build) -> None:  # type: ignore[no-untyped-def]
    index = build(sparse.csr_array(np.ones((2, 2), np.float32)))
    with pytest.raises(IndexProblem, match="at least 1"):
        index.search(sparse.csr_array(np.ones((1, 2), np.float32)), 0)


@pytest.mark.parametrize("threads", [2, 8])
def test_threads_change_nothing(build, threads) -> None:  # type: ignore[no-untyped-def]
    index = build(_random(3000, 200, 0.05))
    queries = _random(101, 200, 0.05, 7)
    alone = index.search(queries, 20, algorithm="exhaustive")
    for one, other in zip(alone, index.search(queries, 20, threads=threads), strict=True):
        assert_same_hits(other, one)


def test_explanations_add_up_to_the_score(build) -> None:  # type: ignore[no-untyped-def]
    index = build(_random(500, 50, 0.2))
    query = _random(1, 50, 0.4, 3)
    for document, score in zip(*index.search(query, 20)[0], strict=True):
        total = np.float32(0)
        for part in index.explain(query, int(document)):
            assert np.float32(np.float32(part.weight) * np.float32(part.impact)) == np.float32(part.score)
            total += np.float32(part.score)
        assert total == score
