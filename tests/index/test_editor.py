"""Adding, deleting and replacing documents: what becomes visible, when, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from lsr.index import DocumentRecord, Index, IndexEditor, IndexProblem, IndexWriter
from lsr.index.manifest import MANIFEST

QUERY = sparse.csr_array(np.array([[1.0, 1.0, 1.0]], np.float32))


def rows(*values: list[float]) -> sparse.csr_array:
    return sparse.csr_array(np.array(values, np.float32))


def records(*ids: str) -> list[DocumentRecord]:
    return [DocumentRecord(id_, f"title {id_}", f"text {id_}", {"name": id_}) for id_ in ids]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with IndexWriter(tmp_path / "an.index", encoder={"name": "test"}, impact_maximum=255.0) as writer:
        writer.add(rows([1, 2, 0], [0, 1, 3], [1, 1, 1]), records("a", "b", "c"))
        writer.commit(["x", "y", "z"])
    return tmp_path / "an.index"


def found(folder: Path) -> list[str]:
    with Index(folder) as index:
        index.verify()
        return index.document_ids(index.search(QUERY)[0].documents)


def test_changes_are_visible_together_and_after_the_commit(folder: Path) -> None:
    with IndexEditor(folder, merge=False) as editor:
        editor.add(rows([4, 4, 4], [0, 0, 300]), records("d", "e"))
        assert editor.delete(["a", "e"]) == 2
        assert editor.update(rows([0, 0, 4], [1, 0, 0]), records("b", "new")) == 1
        assert found(folder) == ["b", "a", "c"]
        changes = editor.commit()
        assert changes[:3] == (3, 2, 1)
        assert found(folder) == ["d", "b", "c", "new"]
    with Index(folder) as index:
        assert index.document_count == 4
        assert index.document_numbers(["a", "b", "c", "d", "e", "new"]).tolist() == [-1, 5, 2, 3, -1, 6]
        assert index.documents([5])[0][1:] == ("b", "title b", "text b", {"name": "b"})
        assert index.document_ids(np.array([6, 2, 6])) == ["new", "c", "new"]
        with pytest.raises(IndexError, match="document 7 of 7"):
            index.document_ids(np.array([7]))


def test_leaving_without_commit_changes_nothing(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with IndexEditor(folder) as editor:
        editor.add(rows([1, 1, 1]), records("d"))
        editor.delete(["a"])
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}
    assert after == before


def test_an_id_that_is_there_is_refused_and_the_batch_with_it(folder: Path) -> None:
    with IndexEditor(folder) as editor:
        with pytest.raises(IndexProblem, match=r"'b' is in .* already; replace the document with lsr update"):
            editor.add(rows([1, 1, 1], [1, 0, 0]), records("d", "b"))
        with pytest.raises(IndexProblem, match="'d' occurs twice"):
            editor.add(rows([1, 1, 1], [1, 0, 0]), records("d", "d"))
        editor.add(rows([1, 0, 0]), records("d"))
        with pytest.raises(IndexProblem, match="'d' occurs twice"):
            editor.add(rows([1, 0, 0]), records("d"))
        with pytest.raises(IndexProblem, match="has the term weight nan"):
            editor.update(rows([np.nan, 0, 0]), records("a"))
        editor.delete(["b"])
        editor.add(rows([0, 4, 4]), records("b"))
        editor.commit()
    assert found(folder) == ["b", "a", "c", "d"]


def test_the_last_form_of_an_update_wins(folder: Path) -> None:
    with IndexEditor(folder) as editor:
        assert editor.update(rows([1, 0, 0], [0, 2, 0], [3, 0, 0]), records("a", "n", "a")) == 2
        assert editor.update(rows([0, 0, 4]), records("n")) == 1
        editor.commit()
    with Index(folder) as index:
        assert index.document_count == 4
        hits = index.search(QUERY)[0]
        assert index.document_ids(hits.documents) == ["b", "n", "c", "a"]


def test_unknown_ids_are_named_or_skipped(folder: Path) -> None:
    with IndexEditor(folder) as editor:
        with pytest.raises(IndexProblem, match=r"no document 'q' \(and 1 more ids\); nothing was deleted"):
            editor.delete(["a", "q", "r"])
        assert editor.delete(["a", "a", "q"], skip_missing=True) == 1
        with pytest.raises(IndexProblem, match="no document 'a'"):
            editor.delete(["a"])
        editor.commit()
    assert found(folder) == ["b", "c"]


def test_one_writer_at_a_time(folder: Path) -> None:
    with IndexEditor(folder) as editor:
        with pytest.raises(IndexProblem, match="being changed by another process"):
            IndexEditor(folder)
        with pytest.raises(IndexProblem, match="being changed by another process"):
            IndexWriter(folder, encoder={}, overwrite=True)
        editor.commit()
    with IndexEditor(folder):
        pass


def test_a_dead_writer_leaves_no_lock_and_its_files_go(folder: Path) -> None:
    code = (
        "import os, sys; import numpy as np; from scipy import sparse\n"
        "from lsr.index import DocumentRecord, IndexEditor\n"
        "editor = IndexEditor(sys.argv[1])\n"
        "editor.add(sparse.csr_array(np.ones((1, 3), np.float32)), [DocumentRecord('d')])\n"
        "os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=False, cwd=folder.parent)
    assert len(list((folder / "segments").iterdir())) == 2
    with IndexEditor(folder) as editor:
        assert len(list((folder / "segments").iterdir())) == 1
        editor.delete(["c"])
        editor.commit()
    assert found(folder) == ["b", "a"]


def test_snapshots_stay_as_they_were_and_refresh(folder: Path) -> None:
    with Index(folder) as old:
        assert old.refresh() is old
        with IndexEditor(folder, merge=False) as editor:
            editor.delete(["a"])
            editor.commit()
            middle = old.refresh()
            editor.update(rows([4, 4, 4]), records("c"))
            editor.commit()
        new = middle.refresh()
        assert old.document_ids(old.search(QUERY)[0].documents) == ["b", "a", "c"]
        assert middle.document_ids(middle.search(QUERY)[0].documents) == ["b", "c"]
        assert new.document_ids(new.search(QUERY)[0].documents) == ["c", "b"]
        assert new.segments[0].store is middle.segments[0].store is old.segments[0].store
        middle.close()
        middle.close()
        assert new.documents([3])[0].id == "c"
        assert old.documents([0])[0].id == "a"
        new.close()


def test_statistics_are_those_of_live_documents(tmp_path: Path) -> None:
    folder = tmp_path / "an.index"
    with IndexWriter(folder, encoder={}, store_texts=False) as writer:
        writer.add(rows([1, 2, 0], [0, 1, 3]), records("a", "b"), rows([1, 0, 0], [0, 1, 1]))
        writer.commit(["x", "y", "z"])
    with IndexEditor(folder) as editor:
        assert editor.needs_text_terms
        with pytest.raises(ValueError, match="text_terms are needed"):
            editor.add(rows([1, 1, 1]), records("c"))
        editor.add(rows([1, 1, 1], [3, 0, 1]), records("c", "d"), rows([1, 1, 1], [0, 0, 1]))
        editor.delete(["a", "d"])
        editor.commit()
    with Index(folder) as index:
        assert index.document_count == 2
        assert index.document_frequencies(np.array([0, 1, 2, 9, -1])).tolist() == [1, 2, 2, 0, 0]
        assert index.text_document_frequencies(np.array([0, 1, 2, 9, -1])).tolist() == [1, 2, 2, 0, 0]


def test_a_growing_vocabulary(folder: Path) -> None:
    wide = sparse.csr_array(([2.0], ([0], [4])), shape=(1, 5), dtype=np.float32)
    with IndexEditor(folder) as editor:
        editor.add(wide, records("d"))
        editor.commit(["x", "y", "z", "v", "w"])
    with Index(folder) as index:
        assert index.vocabulary() == ["x", "y", "z", "v", "w"]
        assert index.term_ids(["w", "x"]).tolist() == [4, 0]
        assert index.document_ids(index.search(wide)[0].documents) == ["d"]


def test_without_synchronising_it_is_all_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append(descriptor), real(descriptor))[1])
    with IndexEditor(folder, durable=False) as editor:
        editor.update(rows([4, 4, 4]), records("c"))
        editor.commit()
    assert not calls
    assert found(folder) == ["c", "b", "a"]
    with IndexEditor(folder) as editor:
        editor.delete(["c"])
        editor.commit()
    assert calls
    assert found(folder) == ["b", "a"]


def test_only_an_index_can_be_changed(tmp_path: Path) -> None:
    with pytest.raises(IndexProblem, match="no index at"):
        IndexEditor(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    with pytest.raises(IndexProblem, match="is not an index"):
        IndexEditor(tmp_path / "other")
    assert not any((tmp_path / "other").iterdir())


def test_a_failed_commit_leaves_the_old_state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    before = (folder / MANIFEST).read_bytes()
    with pytest.raises(IndexProblem, match=r"cannot be changed \(Input/output error\), and is as it was"):  # noqa: SIM117
        with IndexEditor(folder) as editor:
            editor.update(rows([4, 4, 4]), records("c"))
            monkeypatch.setattr(os, "fsync", refuse)
            editor.commit()
    monkeypatch.undo()
    assert (folder / MANIFEST).read_bytes() == before
    assert found(folder) == ["b", "a", "c"]
    with IndexEditor(folder):
        assert len(list((folder / "segments").iterdir())) == 1
