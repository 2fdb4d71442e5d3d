"""Streaming: pieces on disk and their merge give the arrays that building in one go gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lsr.index.grid import ImpactGrid
from lsr.index.spill import PostingSpill
from lsr.index.weighting import Bm25Weighting


@given(
    documents=st.integers(1, 60),
    terms=st.integers(1, 30),
    batch=st.integers(1, 20),
    piece=st.sampled_from([1, 7, 50, 10**6]),
    merge=st.sampled_from([1, 5, 40, 10**6]),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=80, deadline=None)
def test_merged_pieces_equal_the_transposed_matrix(
    documents: int, terms: int, batch: int, piece: int, merge: int, seed: int
) -> None:
    import tempfile

    generator = np.random.default_rng(seed)
    matrix = sparse.random_array(
        (documents, terms), density=0.3, rng=generator, dtype=np.float32, format="csr"
    )
    matrix.sort_indices()
    with tempfile.TemporaryDirectory() as folder:
        spill = PostingSpill(Path(folder), piece_postings=piece, merge_postings=merge)
        for start in range(0, documents, batch):
            spill.add(matrix[start : start + batch])
        parts = list(spill.merge(terms))
    by_term = matrix.tocsc()
    by_term.sort_indices()
    assert spill.document_count == documents
    assert spill.posting_count == matrix.nnz
    assert np.concatenate([part.counts for part in parts]).tolist() == np.diff(by_term.indptr).tolist()
    assert np.concatenate([part.documents for part in parts]).tolist() == by_term.indices.tolist()
    assert np.concatenate([part.values for part in parts]).tobytes() == by_term.data.tobytes()
    for part in parts:
        assert len(part.values) <= merge or np.count_nonzero(part.counts) == 1


def test_many_pieces_give_the_same_index_as_one(build, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    generator = np.random.default_rng(1)
    weights = sparse.random_array((70_000, 300), density=0.01, rng=generator, dtype=np.float32, format="csr")
    weights.sort_indices()
    one = build(weights, batch=70_000)
    monkeypatch.setattr("lsr.index.segment_builder.PostingSpill", _small_spill)
    many = build(weights, batch=999)
    for name in ("offsets", "codes", "run_windows", "run_starts", "term_runs"):
        assert getattr(one.postings[0], name).tobytes() == getattr(many.postings[0], name).tobytes()


def _small_spill(folder: Path) -> PostingSpill:
    return PostingSpill(folder, piece_postings=20_000, merge_postings=30_000)


def test_a_vocabulary_may_grow_between_batches(build, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from lsr.index import DocumentRecord, Index, IndexWriter

    with IndexWriter(tmp_path / "an.index", encoder={}) as writer:
        for i, width in enumerate([1, 3, 2, 70_000]):
            row = np.zeros((1, width), np.float32)
            row[0, width - 1] = 1
            writer.add(sparse.csr_array(row), [DocumentRecord(str(i))])
        writer.commit([str(i) for i in range(70_000)])
    index = Index(tmp_path / "an.index")
    query = sparse.csr_array(([1.0], ([0], [69_999])), shape=(1, 70_000), dtype=np.float32)
    assert index.search(query)[0].documents.tolist() == [3]


@pytest.mark.parametrize("bits", [8, 16])
def test_quantisation_stays_within_half_a_step(bits) -> None:  # type: ignore[no-untyped-def]
    grid = ImpactGrid(bits, 3.7)
    weights = np.random.default_rng(0).uniform(float(grid.step), 3.7, 100_000).astype(np.float32)
    values = grid.decode(grid.encode(weights))
    rounding = 3.7 * 2.0**-23  # of float32 itself
    assert np.abs(values - weights).max() <= float(grid.step) / 2 + rounding
    assert grid.encode(np.array([1e-30, 3.7, 99.0], np.float32)).tolist() == [1, grid.levels, grid.levels]
    assert grid.saturated(np.array([1.0, 3.7, 3.8], np.float32)) == 1


def test_saturation_and_error_are_reported(build) -> None:  # type: ignore[no-untyped-def]
    weights = sparse.csr_array(np.array([[1.0, 2.0, 9.0]], np.float32))
    entry = build(weights, impact_maximum=2.0).manifest.segments[0]
    assert entry.quantisation["saturated"] == 1
    assert entry.quantisation["largest_error"] == pytest.approx(7.0, abs=1e-5)


def test_bm25_impacts_and_kept_frequencies(build) -> None:  # type: ignore[no-untyped-def]
    frequencies = sparse.csr_array(np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0], [1, 1, 8]], np.float32))
    index = build(frequencies, bm25=(1.2, 0.75), impact_bits=16)
    lengths = np.array([4, 2, 0, 10])
    weighting = index.manifest.weighting
    assert weighting == Bm25Weighting(1.2, 0.75, 4.0)
    for document in range(4):
        for term in range(3):
            tf = frequencies[document, term]
            expected = tf / (tf + 1.2 * (1 - 0.75 + 0.75 * lengths[document] / 4.0))
            assert index.postings[0].impact(term, document) == pytest.approx(expected, abs=1 / 65535)
    segment = index.folder / "segments" / index.manifest.segments[0].name
    assert np.load(segment / "frequencies.npy").tolist() == frequencies.tocsc().data.tolist()
    assert np.load(segment / "lengths.npy").tolist() == lengths.tolist()


def test_no_documents_at_all(build) -> None:  # type: ignore[no-untyped-def]
    index = build(sparse.csr_array((0, 5), dtype=np.float32))
    query = sparse.csr_array(np.ones((1, 5), np.float32))
    assert index.document_count == 0
    for algorithm in ("exhaustive", "vectorised"):
        assert len(index.search(query, 3, algorithm=algorithm)[0].documents) == 0
