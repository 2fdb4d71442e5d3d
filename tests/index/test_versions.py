"""Indexes of format versions 1 and 2, built by the code of those versions, open for ever."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from lsr.index import DocumentRecord, Index, IndexEditor, IndexProblem, StoredDocument
from lsr.index.manifest import VERSION

DATA = Path(__file__).parent / "data"
# Term by document, as they were handed over (halved for the learned weights).
ROWS = np.array(
    [[3, 1, 0, 0, 0], [0, 2, 2, 0, 0], [0, 0, 0, 0, 0], [1, 0, 4, 1, 0], [0, 1, 0, 2, 5], [2, 2, 2, 2, 2]],
    np.float32,
)
QUERY = sparse.csr_array(np.array([[1, 0, 1, 0, 0]], np.float32))


@pytest.fixture(params=["version-1-impact", "version-1-bm25", "version-2-impact"])
def folder(request, tmp_path: Path) -> Path:  # type: ignore[no-untyped-def]
    name = f"{request.param}.index"
    return Path(shutil.copytree(DATA / name, tmp_path / name))


def test_it_opens_and_is_searched(folder: Path) -> None:
    with Index(folder) as index:
        assert f"version-{index.manifest.version}" in folder.name
        assert index.terms_with_block_maxima == [0]  # those of version 2 are laid out in another way
        assert (index.document_count, index.number_bound, index.vocabulary_size) == (6, 6, 5)
        assert index.verify() > 20_000
        hits = index.search(QUERY)[0]
        if index.manifest.weighting:
            assert index.document_ids(hits.documents) == ["d3", "d5", "d0", "d1"]
        else:
            assert index.document_ids(hits.documents) == ["d3", "d5", "d0", "d1"]
            assert hits.scores == pytest.approx([2.5, 2.0, 1.5, 1.0], abs=0.02)
        assert index.documents([4])[0][1:4] == ("d4", "title 4", "text 4")
        assert index.vocabulary() == ["alpha", "beta", "gamma", "delta", "epsilon"]


def test_it_can_be_changed_and_is_of_the_new_version_then(folder: Path) -> None:
    def text_terms_of(documents: list[StoredDocument]) -> sparse.csr_array:
        """What a tokenizer would find: the last documents hold every term, the others the first."""
        return sparse.csr_array(np.array([[1] + [d.number == 5] * 4 for d in documents], np.float32))

    with IndexEditor(folder, text_terms_of=text_terms_of) as editor:  # type: ignore[arg-type]
        terms = sparse.csr_array(np.eye(1, 5, dtype=np.float32)) if editor.needs_text_terms else None
        editor.add(sparse.csr_array(ROWS[:1] / 2), [DocumentRecord("new")], terms)
        editor.delete(["d0", "d5"])
        editor.commit()
    with Index(folder) as index:
        index.verify()
        assert index.manifest.version == VERSION
        assert sorted(index.document_ids(index.search(QUERY)[0].documents)) == ["d1", "d3", "new"]
        assert index.document_frequencies(np.arange(5)).tolist() == [2, 3, 2, 2, 1]
        if folder.name == "version-1-impact.index":
            assert index.text_document_frequencies(np.arange(5)).tolist() == [2, 3, 1, 2, 0]


def test_deleting_what_cannot_be_counted_is_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DATA / "version-1-impact.index", tmp_path / "an.index"))
    with IndexEditor(folder) as editor:
        editor.delete(["d0"])
        with pytest.raises(IndexProblem, match=r"does not keep them by document.*build the index again"):
            editor.commit()
    with Index(folder) as index:
        assert index.document_count == 6


def test_compacting_gives_an_old_segment_block_maxima(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(DATA / "version-2-impact.index", tmp_path / "an.index"))
    monkeypatch.setattr("lsr.index.block_writer.LEAST_DOCUMENTS", 0)
    monkeypatch.setattr("lsr.index.block_writer.MOST_BYTES_A_POSTING", 1000.0)
    with Index(folder) as index:
        before = index.search(QUERY)[0]
    with IndexEditor(folder) as editor:
        editor.compact()
    with Index(folder) as index:
        assert index.manifest.version == VERSION
        assert index.terms_with_block_maxima == [5]
        after = index.search(QUERY, algorithm="blockmax")[0]
        assert after.documents.tolist() == before.documents.tolist()
        assert after.scores.tobytes() == before.scores.tobytes()
