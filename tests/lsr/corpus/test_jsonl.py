from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import zstandard

from lsr.corpus import Document, ReadOptions, ReadReport, read_corpus
from lsr.errors import UserError


def write_lines(path: Path, *records: Any) -> Path:
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(path: Path | str, **options: Any) -> list[Document]:
    return list(read_corpus([path], ReadOptions(**options)))


def refusal(path: Path | str, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(path, **options)
    return str(caught.value)


@pytest.mark.parametrize("id_name", ["id", "_id", "docid"])
@pytest.mark.parametrize("text_name", ["text", "contents", "body", "content"])
def test_usual_field_names(tmp_path: Path, id_name: str, text_name: str) -> None:
    path = write_lines(tmp_path / "c.jsonl", {id_name: "d1", "title": "T", text_name: "words"})
    (document,) = read(path)
    assert (document.id, document.title, document.text) == ("d1", "T", "words")
    assert document.metadata == {}
    assert document.location == f"{path}:1"


def test_named_fields_and_several_texts(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "c.jsonl",
        {"key": 7, "head": "H", "one": "a", "two": "b", "id": "other"},
        {"key": 8, "head": None, "one": None, "two": "b"},
    )
    first, second = read(path, id_field="key", title_field="head", text_fields=("one", "two"))
    assert (first.id, first.title, first.text) == ("7", "H", "a\nb")
    assert first.metadata == {"id": "other"}
    assert (second.title, second.text) == ("", "b")


def test_a_title_among_the_texts_counts_once(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "c.jsonl", {"id": 1, "title": "T", "body": "b"})
    (both,) = read(path, text_fields=("title", "body"))
    assert (both.title, both.text, both.metadata) == ("T", "b", {})
    (alone,) = read(path, text_fields=("title",))
    assert (alone.title, alone.text, alone.metadata) == ("", "T", {"body": "b"})


def test_metadata_is_flattened_and_kept_to_scalars(tmp_path: Path) -> None:
    record = {
        "id": "1",
        "text": "x",
        "year": 1999,
        "open": True,
        "tags": ["a", "b"],
        "nested": {"no": 1},
        "matrix": [[1]],
        "gone": None,
        "metadata": {"url": "u", "year": 1},
    }
    (document,) = read(write_lines(tmp_path / "c.jsonl", record))
    assert document.metadata == {"year": 1999, "open": True, "tags": ["a", "b"], "url": "u"}


def test_anserini_vectors_lose_zeros(tmp_path: Path) -> None:
    record = {"id": "1", "contents": "", "vector": {"a": 2, "b": 0.5, "c": 0, "d": 1e-60}}
    (document,) = read(write_lines(tmp_path / "c.jsonl", record))
    assert document.vector == {"a": 2.0, "b": 0.5}


def test_a_vector_stands_in_for_text(tmp_path: Path) -> None:
    (document,) = read(write_lines(tmp_path / "c.jsonl", {"id": "1", "vector": {}}))
    assert document.text == ""
    assert document.vector == {}


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        ("-1", "-1"),
        ("NaN", "nan"),
        ("Infinity", "inf"),
        ('"1"', "a string"),
        ("null", "null"),
        ("true", "true or false"),
        ("1e39", "too large"),
    ],
)
def test_unusable_weights(tmp_path: Path, weight: str, said: str) -> None:
    path = write_lines(tmp_path / "c.jsonl", f'{{"id": "1", "vector": {{"fine": 1, "term": {weight}}}}}')
    message = refusal(path)
    assert message.startswith(f"{path}:1: the weight of 'term' is {said}")


def test_empty_lines_are_skipped_and_counted_in_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'\n  \r\n{"id": 1, "text": ""}\r\n\n{"id": 2, "text": "b"}')
    documents = read(path)
    assert [(document.id, document.text, document.location) for document in documents] == [
        ("1", "", f"{path}:3"),
        ("2", "b", f"{path}:5"),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id": "1", "text": }', "is not JSON: Expecting value at column 21"),
        ('[{"id": "1"}]', "JSON array"),
        ("[", "JSON array"),
        ('"text"', "not an object"),
        ("3", "not an object"),
        ("[" * 100_000, "nested too deep"),
        ('{"a":' * 100_000, "nested too deep"),
        ('{"id": %s, "text": ""}' % ("1" * 5000), "not readable JSON"),
        ('{"text": "x"}', "--id-field"),
        ('{"id": null, "text": "x"}', "'id' is null"),
        ('{"id": 1.5, "text": "x"}', "'id' is a number"),
        ('{"id": true, "text": "x"}', "'id' is true or false"),
        ('{"id": "", "text": "x"}', "'id' is empty"),
        ('{"id": "a\\nb", "text": "x"}', "line break"),
        ('{"id": "1"}', "--text-field"),
        ('{"id": "1", "title": "only"}', "--text-field"),
        ('{"id": "1", "text": null}', "'text' is null"),
        ('{"id": "1", "text": 5}', "'text' is a number"),
        ('{"id": "1", "text": ["x"]}', "'text' is a list"),
        ('{"id": "1", "text": {}}', "'text' is an object"),
        ('{"id": "1", "text": "x", "title": 5}', "'title' is a number"),
        ('{"id": "1\\u0000", "text": "x"}', "NUL"),
        ('{"id": "1", "vector": {"a\\u0000": 1}}', "NUL"),
        ('{"id": "1", "text": "x\\ud800"}', "lone surrogate U+D800"),
        ('{"id": "1", "text": "x", "note": "\\udc00"}', "lone surrogate U+DC00"),
        ('{"id": "1", "text": "x", "note": NaN}', "'note' is nan"),
        ('{"id": "1", "vector": [1]}', "'vector' is a list"),
        ('{"id": "1", "vector": {"\\ud800": 1}}', "lone surrogate"),
        ('{"id": "1", "vector": {"": 1}}', "empty term"),
    ],
)
def test_bad_lines_name_file_and_line_or_are_counted(tmp_path: Path, line: str, said: str) -> None:
    path = write_lines(tmp_path / "c.jsonl", {"id": "0", "text": "fine"}, line, {"id": "9", "text": "fine"})
    message = refusal(path)
    assert message.startswith(f"{path}:2: ")
    assert said in message
    assert "--skip-bad" in message

    report = ReadReport()
    documents = list(read_corpus([path], ReadOptions(skip_bad=True), report))
    assert [document.id for document in documents] == ["0", "9"]
    assert (report.documents, report.bad) == (2, 1)
    assert report.bad_examples[0].startswith(f"{path}:2: ")
    assert said in (report.summary() or "")


def test_only_the_first_bad_lines_are_kept(tmp_path: Path) -> None:
    report = ReadReport()
    path = write_lines(tmp_path / "c.jsonl", *["nonsense"] * 8)
    assert list(read_corpus([path], ReadOptions(skip_bad=True), report)) == []
    assert report.bad == 8
    assert len(report.bad_examples) == 5
    assert "and 3 more" in (report.summary() or "")


def test_wrong_encoding_names_line_and_byte(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes('{"id": "1", "text": "a"}\n{"id": "2", "text": "café"}\n'.encode("cp1252"))
    message = refusal(path)
    assert message.startswith(f"{path}:2: byte 24 (0xe9) is not utf-8")
    assert "--encoding" in message
    assert read(path, encoding="cp1252")[1].text == "café"
    assert [document.id for document in read(path, skip_bad=True)] == ["1"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_byte_order_marks_and_wide_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "c.jsonl"
    # U+0A00 holds the byte of a line feed, which must not end the line.
    path.write_bytes('{"id": "1", "text": "\u0a00é"}\n{"id": "2", "text": ""}\n'.encode(encoding))
    first, second = read(path, encoding="utf-8" if encoding == "utf-8-sig" else encoding)
    assert (first.text, second.id) == ("\u0a00é", "2")


def test_damaged_wide_encoding_ends_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes('{"id": "1", "text": ""}\n'.encode("utf-16-le") + b"\x00\xd8\x00")
    message = refusal(path, encoding="utf-16-le", skip_bad=True)
    assert str(path) in message
    assert "--encoding" in message


@pytest.mark.parametrize("encoding", ["no-such", "hex", "rot13"])
def test_unknown_encodings(encoding: str) -> None:
    with pytest.raises(UserError, match=f"--encoding {encoding}"):
        ReadOptions(encoding=encoding)


def lines_of(count: int) -> bytes:
    return b"".join(json.dumps({"id": i, "text": f"text {i} " * 20}).encode() + b"\n" for i in range(count))


@pytest.mark.parametrize("kind", ["plain", "gz", "gz members", "zst", "zst frames"])
def test_compression(tmp_path: Path, kind: str) -> None:
    data = lines_of(3000)
    half = data.index(b"\n", len(data) // 2) + 1
    suffix, packed = {
        "plain": ("", data),
        "gz": (".gz", gzip.compress(data)),
        "gz members": (".gz", gzip.compress(data[:half]) + gzip.compress(data[half:])),
        "zst": (".zst", zstandard.compress(data)),
        "zst frames": (".zst", zstandard.compress(data[:half]) + zstandard.compress(data[half:])),
    }[kind]
    path = tmp_path / f"c.jsonl{suffix}"
    path.write_bytes(packed)
    report = ReadReport()
    documents = read_corpus([path], report=report)
    assert report.bytes_total == len(packed)
    assert [document.id for document in documents] == [str(i) for i in range(3000)]
    assert report.bytes_read == len(packed)
    assert report.fraction == 1.0


def test_fraction_grows_while_reading(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(lines_of(20_000))
    report = ReadReport()
    fractions = [report.fraction or 0.0 for _ in read_corpus([path], report=report)]
    assert 0 < fractions[0] < 0.2
    assert fractions == sorted(fractions)
    assert len(set(fractions)) > 5


@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_compression(tmp_path: Path, suffix: str, damage: str) -> None:
    data = lines_of(3000)
    packed = bytearray(gzip.compress(data) if suffix == "gz" else zstandard.compress(data))
    if damage == "cut":
        del packed[-len(packed) // 3 :]
    else:
        packed[len(packed) // 2 : len(packed) // 2 + 40] = bytes(40)
    path = tmp_path / f"c.jsonl.{suffix}"
    path.write_bytes(packed)
    message = refusal(path, skip_bad=True)
    # A flipped byte may also decompress to what is no JSON and then fail as damage further on.
    assert message.startswith(f"{path}: its compression is damaged or cut off")


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    data = gzip.compress(b'{"id": "1", "text": "piped"}\nnonsense\n')
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    report = ReadReport()
    documents = read_corpus(["-"], report=report)
    assert next(documents).text == "piped"
    assert report.fraction is None
    with pytest.raises(UserError, match="standard input:2: is not JSON"):
        next(documents)


def test_memory_stays_bounded(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "c.jsonl.zst"
    path.write_bytes(zstandard.compress(lines_of(60_000)))  # 13 MB of text
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_corpus([path]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 60_000
    assert peak < 8_000_000
