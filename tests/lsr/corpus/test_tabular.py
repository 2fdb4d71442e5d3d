from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsr.corpus import Document, ReadOptions, ReadReport, read_corpus, tabular
from lsr.errors import UserError


def read(path: Path, **options: Any) -> list[Document]:
    return list(read_corpus([path], ReadOptions(**options)))


def test_quoting_and_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes(
        b'\xef\xbb\xbfid,title,text,year\r\n1,"a, b","two\r\nlines ""quoted""",1999\r\n\r\n2,,plain,\r\n'
    )
    first, second = read(path)
    assert (first.id, first.title, first.text) == ("1", "a, b", 'two\r\nlines "quoted"')
    assert first.metadata == {"year": "1999"}
    assert first.location == f"{path}:2"
    assert (second.title, second.metadata, second.location) == ("", {}, f"{path}:5")


def test_tabs_have_no_quoting(tmp_path: Path) -> None:
    path = tmp_path / "c.tsv"
    path.write_text('docid\ttext\n1\t"open quote\n2\tsecond\n', encoding="utf-8")
    assert [document.text for document in read(path)] == ['"open quote', "second"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        )
    )
)
def test_what_csv_writes_is_read_back(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([("id", "text"), *rows])
    path = tmp_path / "c.csv"
    path.write_bytes(buffer.getvalue().encode())
    assert [(document.id, document.text) for document in read(path)] == rows


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("key,text\n1,a\n", "--id-field"),
        ("id;text\n1;a\n", "'id;text'"),
        ("id,words\n1,a\n", "--text-field"),
        ("id,text,text\n1,a,b\n", "two columns 'text'"),
        ("id,caf\udce9\n", "the header cannot be read"),
    ],
)
def test_unusable_headers(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError) as caught:
        read(path, skip_bad=True)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (b"1", "has 1 columns where the header has 2"),
        (b"1,a,b", "has 3 columns where the header has 2"),
        (b",a", "'id' is empty"),
        (b'1,"a"b', "is a quote left open"),
        (b"1,\xff", "is not utf-8"),
    ],
)
def test_bad_rows(tmp_path: Path, row: bytes, said: str) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes(b"id,text\n0,fine\n" + row + b"\n9,fine\n")
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:3: ")
    assert said in str(caught.value)
    report = ReadReport()
    documents = list(read_corpus([path], ReadOptions(skip_bad=True), report))
    assert [document.id for document in documents] == ["0", "9"]
    assert report.bad == 1


def test_an_open_quote_stops_at_the_field_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabular, "FIELD_LIMIT", 1000)
    before = csv.field_size_limit()
    path = tmp_path / "c.csv"
    path.write_text('id,text\n1,"open\n' + "2,x\n" * 2000, encoding="utf-8")
    with pytest.raises(UserError, match=r"c\.csv:2: field larger than field limit.*quote left open"):
        read(path)
    assert csv.field_size_limit() == before


def test_large_fields_are_read(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("id,text\n1," + "word " * 200_000 + "\n", encoding="utf-8")
    assert len(read(path)[0].text) == 1_000_000
