"""Searches that leave something out find the share that is wanted, and score what they find exactly."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from brute_force import assert_same_hits
from scipy import sparse

from lsr.index import Approximation, DocumentRecord, Index, IndexEditor, IndexProblem, IndexWriter
from lsr.index.approximation import DEPTHS, LEVELS, SAFE, approximation_for, level_for
from lsr.index.calibration import sample_queries

DOCUMENTS, TERMS = 20_000, 400


def _corpus(generator: np.random.Generator) -> sparse.csr_array:
    """Documents of a few topics, so that queries have something to find."""
    frequencies = 0.3 / np.arange(1, TERMS + 1) ** 0.5
    topics = generator.permuted(np.tile(frequencies, (30, 1)), axis=1) * 3 + frequencies * 0.3
    rows = topics[generator.integers(0, 30, DOCUMENTS)]
    held = generator.random(rows.shape) < rows
    matrix = sparse.csr_array((held * (generator.gamma(1.0, 40.0, rows.shape) + 1)).astype(np.float32))
    matrix.sort_indices()
    return matrix


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, sparse.csr_array]:
    matrix = _corpus(np.random.default_rng(1))
    folder = tmp_path_factory.mktemp("approximation") / "an.index"
    with pytest.MonkeyPatch.context() as patch, IndexWriter(folder, encoder={}) as writer:
        patch.setattr("lsr.index.calibration.LEAST_DOCUMENTS", 0)
        writer.add(matrix, [DocumentRecord(str(i)) for i in range(DOCUMENTS)])
        writer.commit([str(i) for i in range(TERMS)])
    return folder, matrix


def _queries(matrix: sparse.csr_array, count: int) -> sparse.csr_array:
    generator = np.random.default_rng(2)
    rows = matrix[generator.choice(DOCUMENTS, count, replace=False)].toarray()
    rows *= generator.random(rows.shape) < 0.3
    rows *= generator.lognormal(0, 0.5, rows.shape)
    return sparse.csr_array(rows.astype(np.float32))


@pytest.mark.parametrize("k", [10, 100])
@pytest.mark.parametrize("wanted", [0.99, 0.95, 0.9])
def test_the_wanted_share_is_found_with_less_work(corpus, k: int, wanted: float) -> None:  # type: ignore[no-untyped-def]
    folder, matrix = corpus
    with Index(folder) as index:
        queries = _queries(matrix, 100)
        exact = index.search(queries, k, algorithm="blockmax")
        found = index.search(queries, k, algorithm="blockmax", recall=wanted)
        shares = []
        for one, other in zip(found, exact, strict=True):
            shares.append(np.isin(other.documents, one.documents).mean())
            scores = dict(zip(other.documents.tolist(), other.scores.tolist(), strict=True))
            for document, score in zip(one.documents.tolist(), one.scores.tolist(), strict=True):
                assert scores.get(document, score) == score
        assert np.mean(shares) > wanted - 0.02
        (approximation,) = {approximation_for(wanted, k, s.recalls) for s in index.segments}
        assert approximation != SAFE
        safe, cut_short = (
            sum(costs[0].blocks for costs in index.costs(queries, k, algorithm="blockmax", recall=share))
            for share in (1.0, wanted)
        )
        assert cut_short < safe


def test_scores_are_exact_whatever_was_left_out(corpus) -> None:  # type: ignore[no-untyped-def]
    folder, matrix = corpus
    with Index(folder) as index:
        queries = _queries(matrix, 20)
        everything = index.search(queries, DOCUMENTS, algorithm="vectorised")
        for approximation in (Approximation(0.5), Approximation(0.8, 1.2), Approximation(0.9, 1.0, 40)):
            found = index.search(queries, 10, algorithm="blockmax", approximation=approximation)
            for hits, full in zip(found, everything, strict=True):
                scores = np.zeros(DOCUMENTS, np.float32)
                scores[full.documents] = full.scores
                assert hits.scores.tobytes() == scores[hits.documents].tobytes()
                assert (np.diff(hits.scores) <= 0).all()
        for one, other in zip(
            index.search(queries, 10, algorithm="blockmax", approximation=SAFE),
            index.search(queries, 10, algorithm="exhaustive", recall=0.5),
            strict=True,
        ):
            assert_same_hits(one, other)


def test_levels() -> None:
    recalls = np.linspace(1, 0.7, LEVELS).repeat(len(DEPTHS)).astype(np.float32)
    assert approximation_for(0.5, 10, None) == SAFE
    assert approximation_for(1.0, 10, recalls) == SAFE
    assert approximation_for(0.94, 10, recalls) == level_for(1, 10)
    assert approximation_for(0.7, 50, recalls) == level_for(LEVELS - 1, 50)


@pytest.mark.parametrize("wrong", [0.0, -1.0, 1.5, float("nan")])
def test_a_recall_that_is_none_is_refused(corpus, wrong: float) -> None:  # type: ignore[no-untyped-def]
    folder, matrix = corpus
    with Index(folder) as index, pytest.raises(IndexProblem, match="wanted recall is above 0"):
        index.search(_queries(matrix, 1), recall=wrong)


def test_sample_queries_are_made_of_their_documents(corpus) -> None:  # type: ignore[no-untyped-def]
    folder, matrix = corpus
    with Index(folder) as index:
        documents = np.array([0, 7, 1234, DOCUMENTS - 1])
        queries = sample_queries(index.postings[0], documents)
    assert {document for document, _, _ in queries} <= set(documents.tolist())
    for document, terms, weights in queries:
        assert set(terms.tolist()) <= set(matrix[[document]].indices.tolist())
        assert (np.diff(terms) > 0).all()
        assert (weights > 0).all()


def test_small_segments_are_not_calibrated_and_merged_ones_are(corpus, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    original, matrix = corpus
    folder = Path(shutil.copytree(original, tmp_path / "an.index"))
    with IndexEditor(folder, merge=False) as editor:
        editor.add(matrix[:50], [DocumentRecord(f"new {i}") for i in range(50)])
        editor.commit()
        assert [segment.recalls is None for segment in editor.index.segments] == [False, True]
        monkeypatch.setattr("lsr.index.calibration.LEAST_DOCUMENTS", 10_000)
        editor.compact()
        assert [segment.recalls is None for segment in editor.index.segments] == [False]
    (segment,) = Index(folder).segments
    path = segment.folder / "recalls.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-8])
    with pytest.raises(IndexProblem, match=r"recalls.npy is damaged"):
        Index(folder)
    path.write_bytes(content)
