"""Documents that occur twice: by id, and by text where that is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsr.corpus import Document, ReadOptions, ReadReport
from lsr.index import Index, IndexProblem
from lsr.retrieval import build_index
from lsr.retrieval.distinct import Distinct


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "x", " x", "x\n", "x y", "x  y", "xy"])))
)
def test_texts_against_a_plain_set(pairs: list[tuple[str, str]]) -> None:
    documents = [Document(str(i), text, title) for i, (title, text) in enumerate(pairs)]
    seen: set[str] = set()
    expected = []
    for document in documents:
        key = " ".join(document.full_text.split())
        if document.text and key in seen:
            continue
        if document.text:
            seen.add(key)
        expected.append(document.id)
    distinct = Distinct(ReadReport(), texts=True)
    assert [document.id for document in distinct.pass_on(documents)] == expected
    assert distinct.same_text == len(documents) - len(expected)


def test_the_first_is_kept_and_the_others_are_counted(tmp_path: Path) -> None:
    documents = [
        Document("a", "one  text", "T"),
        Document("b", "other text", "T"),
        Document("c", " one\ttext\n", "T"),
        Document("d", "T one text"),
        Document("e", "one text"),
    ]
    report = build_index(documents, tmp_path / "an.index", "bm25", deduplicate="text")
    assert (report.documents, report.same_text) == (3, 2)
    with Index(tmp_path / "an.index") as index:
        assert [document.id for document in index.documents([0, 1, 2])] == ["a", "b", "e"]
    assert build_index(documents, tmp_path / "all.index", "bm25").documents == 5


def test_an_id_twice_stops_the_job_or_is_left_out(tmp_path: Path) -> None:
    documents = [
        Document("a", "one", location="x.jsonl:1"),
        Document("b", "two", location="x.jsonl:2"),
        Document("a", "three", location="x.jsonl:3"),
    ]
    with pytest.raises(IndexProblem, match=r"x\.jsonl:3: the document id 'a' occurs twice"):
        build_index(documents, tmp_path / "an.index", "bm25")
    assert list(tmp_path.iterdir()) == []
    read_report = ReadReport()
    report = build_index(
        documents,
        tmp_path / "an.index",
        "bm25",
        read_options=ReadOptions(skip_bad=True),
        read_report=read_report,
    )
    assert (report.documents, report.bad_documents) == (2, 1)
    assert read_report.bad_examples == ["x.jsonl:3: the id 'a' occurs twice"]
    with Index(tmp_path / "an.index") as index:
        assert [document.text for document in index.documents([0, 1])] == ["one", "two"]


def test_vectors_without_text_are_nobodys_copies(tmp_path: Path) -> None:
    documents = [Document(str(i), "", vector={"t": 1.0}) for i in range(3)]
    report = build_index(documents, tmp_path / "an.index", deduplicate="text", resume=True)
    assert (report.documents, report.same_text, report.resumed_documents) == (3, 0, 0)
