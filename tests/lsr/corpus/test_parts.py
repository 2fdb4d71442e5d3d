"""The parts of a corpus, read one after the other, are the corpus."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from lsr.corpus import ReadOptions, ReadReport, read_corpus
from lsr.corpus.parts import count_lines, divide_corpus, number_lines, read_part
from lsr.errors import UserError


def lines(count: int, start: int = 0) -> str:
    return "".join(
        json.dumps({"id": f"d{i}", "text": "ü" * (i % 40), "n": i}, ensure_ascii=False) + "\n" * (1 + i % 3)
        for i in range(start, start + count)
    )


@pytest.mark.parametrize("part_bytes", [1, 37, 500, 10**9])
def test_parts_are_the_corpus(tmp_path: Path, part_bytes: int) -> None:
    (tmp_path / "a.jsonl").write_text("\ufeff" + lines(50).rstrip("\n"), "utf-8")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines(5, 50).encode()))
    # Compressed whatever its name says.
    (tmp_path / "c.jsonl").write_bytes(gzip.compress(lines(5, 60).encode()))
    (tmp_path / "d.csv").write_text("id,text\nx,one\ny,two\n")
    notes = tmp_path / "notes"
    (notes / "deep").mkdir(parents=True)
    for i in range(7):
        (notes / "deep" / f"{i}.md").write_text(f"# Title {i}\n\ntext {i}\n")
    (notes / "picture.png").write_bytes(b"png")
    beir = tmp_path / "beir"
    beir.mkdir()
    (beir / "corpus.jsonl").write_text(lines(30, 100))
    (tmp_path / "empty.jsonl").write_text("")
    sources = [
        tmp_path / n for n in ("a.jsonl", "b.jsonl.gz", "c.jsonl", "d.csv", "notes", "beir", "empty.jsonl")
    ]
    options = ReadOptions()
    parts = divide_corpus(sources, part_bytes)
    parts = number_lines(parts, [count_lines(part) if part.kind == "lines" else 0 for part in parts])
    expected_report, report = ReadReport(), ReadReport()
    expected = list(read_corpus(sources, options, expected_report))
    assert [d for part in parts for d in read_part(part, options, report)] == expected
    assert len(expected) == 99
    assert (report.documents, report.bytes_read, report.passed_over) == (
        expected_report.documents,
        expected_report.bytes_read,
        1,
    )
    if part_bytes == 37:
        assert len(parts) > 50


def test_what_only_the_first_process_can_read() -> None:
    kinds = [part.kind for part in divide_corpus(["-", "python-docs"])]
    assert kinds == ["here", "here"]
    with pytest.raises(UserError, match=r"no such file, folder or ir_datasets id"):
        divide_corpus(["no/such/file.jsonl"])


def test_bad_lines_have_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(lines(20) + "{broken\n" + lines(20, 20))
    number = path.read_text()[: path.read_text().index("{broken")].count("\n") + 1
    parts = divide_corpus([path], 200)
    parts = number_lines(parts, [count_lines(part) for part in parts])
    with pytest.raises(UserError, match=rf"a\.jsonl:{number}: is not JSON"):
        for part in parts:
            list(read_part(part, ReadOptions(), ReadReport()))
    report = ReadReport()
    found = [d.id for part in parts for d in read_part(part, ReadOptions(skip_bad=True), report)]
    assert found == [f"d{i}" for i in range(40)]
    assert report.bad_examples[0].startswith(f"{path}:{number}: ")
