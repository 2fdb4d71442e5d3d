"""What is on disk: created whole or not at all, checked when opened, verified byte by byte."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from lsr.index import DocumentRecord, Index, IndexProblem, IndexWriter
from lsr.index.manifest import MANIFEST, body_checksum

WEIGHTS = sparse.csr_array(np.array([[1.0, 0.5, 0], [0, 2.0, 0], [0, 0, 0], [0.1, 0, 3.0]], np.float32))
RECORDS = [DocumentRecord(f"d{i}", f"title {i}", f"text {i}", {"year": 2000 + i}) for i in range(4)]
QUERY = sparse.csr_array(np.array([[1.0, 1.0, 1.0]], np.float32))


def make(folder: Path, **options: object) -> Path:
    with IndexWriter(folder, encoder={"name": "test"}, **options) as writer:  # type: ignore[arg-type]
        (writer.encoder_folder / "query_encoder.json").write_text('{"kind": "test"}')
        writer.add(WEIGHTS, RECORDS)
        writer.commit(["a", "b", "c"])
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_documents_and_terms_come_back(tmp_path: Path) -> None:
    with Index(make(tmp_path / "an.index")) as index:
        assert index.document_count == 4
        assert index.documents([3, 0]) == [
            (3, "d3", "title 3", "text 3", {"year": 2003}),
            (0, "d0", "title 0", "text 0", {"year": 2000}),
        ]
        assert index.document_ids(np.array([2, 1])) == ["d2", "d1"]
        assert index.terms(np.array([2, 0, 9])) == ["c", "a", "#9"]
        assert index.term_ids(["b", "unheard", "a", "b"]).tolist() == [1, -1, 0, 1]
        assert index.document_frequencies(np.array([0, 1, 2, 3, -1])).tolist() == [2, 2, 1, 0, 0]
        assert index.verify() == sum(file.bytes for file in index.manifest.files)
        sizes = index.sizes()
        on_disk = sum(path.stat().st_size for path in index.folder.rglob("*") if path.is_file())
        assert sizes["total"] == on_disk


def test_any_text_comes_back_as_it_was(tmp_path: Path) -> None:
    texts = ["a\0b", "\0", "tab\tline\r\n", "\u200b\U0001f600", ""]
    records = [DocumentRecord(str(i), text, text, {"note": text}) for i, text in enumerate(texts)]
    with IndexWriter(tmp_path / "an.index", encoder={}) as writer:
        writer.add(sparse.csr_array((5, 3), dtype=np.float32), records)
        writer.commit(["a", "b", "c"])
    with Index(tmp_path / "an.index") as index:
        for document, text in zip(index.documents(range(5)), texts, strict=True):
            assert (document.title, document.text, document.metadata) == (text, text, {"note": text})


def test_texts_are_left_out_on_request(tmp_path: Path) -> None:
    with Index(make(tmp_path / "an.index", store_texts=False)) as index:
        assert index.documents([0])[0].text is None
        assert index.documents([0])[0].title == "title 0"


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), IndexWriter(tmp_path / "an.index", encoder={}) as writer:
        writer.add(WEIGHTS, RECORDS)
        raise RuntimeError
    assert names(tmp_path) == set()


def test_leaving_without_commit_leaves_nothing(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "an.index", encoder={}) as writer:
        writer.add(WEIGHTS, RECORDS)
    assert names(tmp_path) == set()


def test_duplicate_ids_are_refused_within_and_across_batches(tmp_path: Path) -> None:
    same = [DocumentRecord("x", location="corpus.jsonl:7")] * 4
    with pytest.raises(IndexProblem, match=r"corpus.jsonl:7: the document id 'x' occurs twice"):  # noqa: SIM117
        with IndexWriter(tmp_path / "an.index", encoder={}) as writer:
            writer.add(WEIGHTS, same)
    with pytest.raises(IndexProblem, match="the document id 'd2' occurs twice"):  # noqa: SIM117
        with IndexWriter(tmp_path / "an.index", encoder={}) as writer:
            writer.add(WEIGHTS, RECORDS)
            writer.add(WEIGHTS[:1], [RECORDS[2]])
    assert names(tmp_path) == set()


def test_an_existing_index_is_kept_unless_overwritten(tmp_path: Path) -> None:
    folder = make(tmp_path / "an.index")
    before = (folder / MANIFEST).read_bytes()
    with pytest.raises(IndexProblem, match=r"exists already.*--overwrite"):
        IndexWriter(folder, encoder={})
    with pytest.raises(RuntimeError), IndexWriter(folder, encoder={}, overwrite=True) as writer:
        writer.add(WEIGHTS, RECORDS)
        raise RuntimeError
    assert (folder / MANIFEST).read_bytes() == before
    old = Index(folder)
    with IndexWriter(folder, encoder={"name": "new"}, overwrite=True) as writer:
        writer.add(WEIGHTS[:2], RECORDS[:2])
        writer.commit(["a", "b", "c"])
    assert names(tmp_path) == {"an.index"}
    with Index(folder) as index:
        assert index.document_count == 2
        assert index.manifest.encoder["name"] == "new"
        index.verify()
        known = {file.path for file in index.manifest.files} | {MANIFEST, "lock"}
        assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == known
    if os.name == "posix":  # An open snapshot outlives its files.
        assert old.search(QUERY)[0].documents.tolist() == [3, 1, 0]


def test_other_folders_and_files_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "precious.txt").write_text("keep me")
    for overwrite in (False, True):
        with pytest.raises(IndexProblem, match="not an index"):
            IndexWriter(tmp_path / "notes", encoder={}, overwrite=overwrite)
    (tmp_path / "file").write_text("")
    with pytest.raises(IndexProblem, match="not a folder"):
        IndexWriter(tmp_path / "file", encoder={})
    assert names(tmp_path) == {"notes", "file"}


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    (tmp_path / "an.index").mkdir()
    assert Index(make(tmp_path / "an.index")).document_count == 4


def test_a_dead_builders_folder_is_cleared_and_a_living_ones_kept(tmp_path: Path) -> None:
    code = (
        "import os, sys; from lsr.index import IndexWriter\n"
        "writer = IndexWriter(sys.argv[1], encoder={}); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "an.index")], check=False, cwd=tmp_path)
    assert len(names(tmp_path)) == 1
    living = IndexWriter(tmp_path / "an.index", encoder={})
    assert len(names(tmp_path)) == 1
    make(tmp_path / "an.index")
    assert len(names(tmp_path)) == 2
    with living, pytest.raises(IndexProblem, match="appeared while"):
        living.add(WEIGHTS, RECORDS)
        living.commit(["a", "b", "c"])
    assert names(tmp_path) == {"an.index"}


def test_missing_and_foreign_folders(tmp_path: Path) -> None:
    with pytest.raises(IndexProblem, match=r"no index at .*lsr index"):
        Index(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(IndexProblem, match="is not an index"):
        Index(tmp_path / "empty")
    (tmp_path / "empty" / MANIFEST).write_text('{"format": "something else"}')
    with pytest.raises(IndexProblem, match="is not an index"):
        Index(tmp_path / "empty")


def _edit_manifest(folder: Path, **changes: object) -> None:
    body = json.loads((folder / MANIFEST).read_text())
    body.pop("checksum")
    body.update(changes)
    body["checksum"] = body_checksum(body)
    (folder / MANIFEST).write_text(json.dumps(body))


def test_a_newer_format_says_how_to_go_on(tmp_path: Path) -> None:
    folder = make(tmp_path / "an.index")
    _edit_manifest(folder, version=99)
    with pytest.raises(IndexProblem, match=r"format 99.*pip install --upgrade"):
        Index(folder)


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "C:\\secret"])
def test_a_manifest_cannot_point_outside(tmp_path: Path, path: str) -> None:
    folder = make(tmp_path / "an.index")
    _edit_manifest(folder, files=[{"path": path, "bytes": 1, "sha256": "0"}])
    with pytest.raises(IndexProblem, match="damaged"):
        Index(folder)


def test_every_flipped_byte_is_seen(tmp_path: Path) -> None:
    folder = make(tmp_path / "an.index")
    seen = 0
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        # Every byte of small files, and a sample of the database's many empty ones.
        places = range(len(content)) if len(content) < 2000 else range(0, len(content), 97)
        for place in places:
            path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
            with pytest.raises(IndexProblem):
                Index(folder).verify()
            seen += 1
        path.write_bytes(content)
    assert seen > 2000
    Index(folder).verify()


def test_truncated_removed_and_swapped_files_are_seen_when_opening(tmp_path: Path) -> None:
    folder = make(tmp_path / "an.index")
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        path.write_bytes(content[:-1])
        with pytest.raises(IndexProblem):
            Index(folder)
        path.unlink()
        with pytest.raises(IndexProblem):
            Index(folder)
        path.write_bytes(content)
    segment = next((folder / "segments").iterdir())
    shutil.copy(segment / "offsets.npy", segment / "codes.npy")
    with pytest.raises(IndexProblem):
        Index(folder)


def test_a_damaged_array_cannot_lead_a_kernel_astray(tmp_path: Path) -> None:
    """Arrays with consistent sizes and nonsense in them: no crash, only wrong or refused results."""
    sound = Index(make(tmp_path / "sound.index"))
    expected = sound.search(QUERY, 10, algorithm="exhaustive")[0].scores.tobytes()
    folder = make(tmp_path / "an.index")
    segment = next((folder / "segments").iterdir())
    generator = np.random.default_rng(0)
    for name in ("offsets", "codes", "run_windows", "run_starts", "term_runs"):
        path = segment / f"{name}.npy"
        content = path.read_bytes()
        array = np.load(path)
        for _ in range(50):
            junk = generator.integers(0, np.iinfo(array.dtype).max, len(array), dtype=array.dtype)
            np.save(path, junk)
            try:
                index = Index(folder)
            except IndexProblem:
                continue
            for algorithm in ("exhaustive", "vectorised"):
                hits = index.search(QUERY, 10, algorithm=algorithm)[0]  # type: ignore[arg-type]
                assert all(0 <= document < 4 for document in hits.documents.tolist())
            # What it left in scratch memory must not leak into the next search.
            assert sound.search(QUERY, 10, algorithm="exhaustive")[0].scores.tobytes() == expected
        path.write_bytes(content)


def test_opening_loads_neither_numba_nor_scipy_sparse_solvers(tmp_path: Path) -> None:
    folder = make(tmp_path / "an.index")
    code = (
        "import sys; from lsr.index import Index; import numpy as np; from scipy import sparse\n"
        "index = Index(sys.argv[1]); index.search(sparse.csr_array(np.ones((1, 3), np.float32)))\n"
        "sys.exit('numba' in sys.modules or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, cwd=tmp_path)


def test_frequencies_of_the_texts_own_terms(tmp_path: Path) -> None:
    terms = np.array([0, 2, 1, 7, -1])
    with Index(make(tmp_path / "without.index")) as index:
        assert index.text_document_frequencies(terms).tolist() == index.document_frequencies(terms).tolist()
    with IndexWriter(tmp_path / "with.index", encoder={}) as writer:
        writer.add(WEIGHTS, RECORDS)
        writer.commit(["a", "b", "c"], np.array([1, 0, 4]))
    with Index(tmp_path / "with.index") as index:
        assert index.text_document_frequencies(terms).tolist() == [1, 4, 0, 0, 0]
