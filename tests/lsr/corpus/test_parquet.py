from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lsr.corpus import ReadOptions, ReadReport, estimate_total, read_corpus
from lsr.errors import UserError


def write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_columns_become_documents(tmp_path: Path) -> None:
    path = write(
        tmp_path / "c.parquet",
        {
            "id": pa.array([1, 2]),
            "title": pa.array(["T", None]),
            "text": pa.array(["a", ""]).dictionary_encode(),
            "day": pa.array([datetime.date(2020, 1, 2), None]),
            "score": pa.array([0.5, float("nan")]),
            "embedding": pa.array([[0.1, 0.2], [0.3, 0.4]]),
            "blob": pa.array([b"x", b"y"]),
            "vector": pa.array([[("a", 1.5)], None], pa.map_(pa.string(), pa.float32())),
        },
    )
    first, second = read_corpus([path])
    assert (first.id, first.title, first.text, first.location) == ("1", "T", "a", f"{path}:1")
    assert first.metadata == {"day": "2020-01-02", "score": 0.5}
    assert first.vector == {"a": 1.5}
    assert (second.title, second.text, second.metadata, second.vector) == ("", "", {}, None)


def test_streams_over_row_groups_and_counts(tmp_path: Path) -> None:
    ids = [str(number) for number in range(5000)]
    path = write(tmp_path / "c.parquet", {"docid": ids, "contents": ids}, row_group_size=700)
    assert estimate_total([path, path]) == 10_000
    report = ReadReport()
    assert [document.id for document in read_corpus([path], report=report)] == ids
    assert report.bytes_read == path.stat().st_size
    assert report.fraction == 1.0


def test_bad_rows_are_located(tmp_path: Path) -> None:
    path = write(tmp_path / "c.parquet", {"id": ["1", "2", None], "text": ["a", None, "c"]})
    with pytest.raises(UserError, match=r"c\.parquet:2: 'text' is null"):
        list(read_corpus([path]))
    report = ReadReport()
    assert [document.id for document in read_corpus([path], ReadOptions(skip_bad=True), report)] == ["1"]
    assert report.bad == 2


def test_missing_columns(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--id-field"):
        list(read_corpus([write(tmp_path / "a.parquet", {"key": ["1"], "text": ["a"]})]))
    with pytest.raises(UserError, match="--text-field"):
        list(read_corpus([write(tmp_path / "b.parquet", {"id": ["1"], "words": ["a"]})]))


@pytest.mark.parametrize("content", [b"", b"id,text\n1,a\n", b"PAR1" + bytes(100)])
def test_what_is_not_parquet(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.parquet"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a sound Parquet file"):
        list(read_corpus([path]))


def test_damage_inside_a_column(tmp_path: Path) -> None:
    path = write(tmp_path / "c.parquet", {"id": ["1"] * 500, "text": [f"text {i} " * 30 for i in range(500)]})
    data = bytearray(path.read_bytes())
    data[200:2000] = bytes(1800)
    path.write_bytes(data)
    with pytest.raises(UserError, match="not a sound Parquet file"):
        list(read_corpus([path]))
