from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lsr.corpus import Document, ReadOptions, ReadReport, estimate_total, ir_collections, read_corpus
from lsr.errors import UserError


def refusal(*sources: str | Path) -> str:
    with pytest.raises(UserError) as caught:
        list(read_corpus(sources))
    return str(caught.value)


def test_all_sources_are_looked_up_before_the_first_document(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1, "text": ""}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"missing\.jsonl: there is no such file"):
        read_corpus([tmp_path / "a.jsonl", tmp_path / "missing.jsonl"])


def test_several_sources_follow_one_another(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1, "text": ""}\n', encoding="utf-8")
    (tmp_path / "b.csv").write_text("id,text\n2,x\n", encoding="utf-8")
    report = ReadReport()
    documents = read_corpus([tmp_path / "b.csv", str(tmp_path / "a.jsonl")], report=report)
    assert [document.id for document in documents] == ["2", "1"]
    assert report.documents == 2
    assert report.bytes_read == report.bytes_total == 34


@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz"])
def test_beir_folder(tmp_path: Path, name: str) -> None:
    import gzip

    line = json.dumps({"_id": "d", "title": "t", "text": "x", "metadata": {"url": "u"}}).encode()
    (tmp_path / name).write_bytes(gzip.compress(line) if name.endswith(".gz") else line)
    (tmp_path / "queries.jsonl").write_text("{}", encoding="utf-8")
    (tmp_path / "README.md").write_text("not a document", encoding="utf-8")
    assert list(read_corpus([tmp_path])) == [
        Document("d", "x", "t", {"url": "u"}, location=f"{tmp_path / name}:1")
    ]


def test_near_misses_are_suggested(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").touch()
    assert f"Did you mean {tmp_path / 'corpus.jsonl'}?" in refusal(tmp_path / "corpos.jsonl")
    assert "Did you mean python-docs?" in refusal("pyhton-docs")
    assert "beir/scifact" in refusal("beir/scifacts")
    message = refusal("zzz/qqq")
    assert "Did you mean" not in message
    for form in (".jsonl", ".parquet", "BEIR", "ir_datasets", "python-docs"):
        assert form in message


def test_unknown_kinds(tmp_path: Path) -> None:
    (tmp_path / "a.docx").touch()
    (tmp_path / "b.parquet.gz").touch()
    assert "of what kind this file is" in refusal(tmp_path / "a.docx")
    assert "of what kind this file is" in refusal(tmp_path / "b.parquet.gz")
    assert "holds no .txt" in refusal(tmp_path)


def test_unreadable_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = tmp_path / "loop.jsonl"
    loop.symlink_to(loop)
    assert str(loop) in refusal(loop)
    assert "cannot be read" in refusal(loop)

    path = tmp_path / "private.jsonl"
    path.write_text("{}", encoding="utf-8")
    path.chmod(0)
    if not os.access(path, os.R_OK):
        assert f"{path}: cannot be read: Permission denied" in refusal(path)
    assert "cannot be read" in refusal("a\0b.jsonl")


def test_python_docs_is_a_word_and_folders_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "python-docs").mkdir()
    (tmp_path / "python-docs" / "a.txt").write_text("x", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert [document.id for document in read_corpus(["./python-docs"])] == ["a.txt"]
    assert next(read_corpus(["python-docs"])).id == "__future__"


class FakeRecord(NamedTuple):
    doc_id: str
    title: str
    text: str
    url: str
    year: int

    def default_text(self) -> str:
        return f"{self.title} {self.text}"


class FakeDataset:
    def __init__(self, records: list[FakeRecord], failure: Exception | None = None) -> None:
        self.records = records
        self.failure = failure

    def has_docs(self) -> bool:
        return True

    def docs_metadata(self) -> dict[str, Any]:
        return {"count": len(self.records)}

    def docs_iter(self) -> Iterator[FakeRecord]:
        yield from self.records
        if self.failure:
            raise self.failure


def test_ir_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [FakeRecord("d1", "Title", "body", "http://x", 1999), FakeRecord("d2", "", "bo\ud800", "", 0)]
    monkeypatch.setattr(ir_collections, "find_dataset", lambda name: FakeDataset(records))
    assert estimate_total(["made/up"]) == 2
    report = ReadReport()
    (document,) = read_corpus(["made/up"], ReadOptions(skip_bad=True), report)
    assert document == Document(
        "d1", "body", "Title", {"url": "http://x", "year": 1999}, location="made/up:1"
    )
    assert report.bytes_total is None
    assert report.fraction is None
    assert report.bad_examples[0].startswith("made/up:2: 'text' holds half a character")


def test_ir_datasets_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = FakeDataset([], RuntimeError("All download sources failed", ["detail"]))
    monkeypatch.setattr(ir_collections, "find_dataset", lambda name: dataset)
    message = refusal("made/up")
    assert message.startswith(
        "made/up: ir_datasets could not provide its documents (All download sources failed)"
    )


def test_failed_downloads_are_not_logged_at_length(capfd: pytest.CaptureFixture[str]) -> None:
    import ir_datasets

    ir_collections.find_dataset("vaswani")
    logger = ir_datasets.log.easy()
    logger.info("download error: no route")
    logger.warn("Download failed: no route")
    assert capfd.readouterr().err == ""
    logger.info("please accept the licence")
    assert "licence" in capfd.readouterr().err


def test_the_real_catalogue() -> None:
    assert estimate_total(["beir/scifact/test"]) == 5183
    assert estimate_total(["-"]) is None


def test_reading_json_lines_loads_nothing_heavy(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1, "text": ""}\n', encoding="utf-8")
    code = (
        "import sys; from lsr.corpus import read_corpus; list(read_corpus([sys.argv[1]]));"
        "heavy = {'numpy', 'pyarrow', 'bs4', 'zstandard', 'ir_datasets', 'torch'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
