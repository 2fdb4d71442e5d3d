from __future__ import annotations

import time

import pytest

from lsr.corpus import Document, ReadReport, read_corpus


@pytest.fixture(scope="module")
def documents() -> dict[str, Document]:
    report = ReadReport()
    start = time.perf_counter()
    documents = list(read_corpus(["python-docs"], report=report))
    # Two seconds on the slow machine this was written on.
    assert time.perf_counter() - start < 20
    assert report.fraction == 1.0
    assert len({document.id for document in documents}) == len(documents)
    return {document.id: document for document in documents}


def test_several_thousand_documents_in_a_fixed_order(documents: dict[str, Document]) -> None:
    assert len(documents) > 4000
    assert list(documents) == [document.id for document in read_corpus(["python-docs"])]


@pytest.mark.parametrize(
    ("name", "kind", "in_title"),
    [
        ("json", "module", "json"),
        ("json.dumps", "function", "skipkeys=False"),
        ("argparse.ArgumentParser", "class", "argparse.ArgumentParser"),
        ("pathlib.Path.mkdir", "method", "parents=False"),
        ("builtins.sorted", "function", "reverse=False"),
        ("builtins.str.split", "method", "maxsplit=-1"),
        ("math.sqrt", "function", "math.sqrt"),
        ("itertools.chain", "class", "itertools.chain"),
        ("datetime.datetime", "class", "datetime.datetime"),
        ("collections.deque", "class", "collections.deque"),
        ("heapq.merge", "function", "key=None"),
    ],
)
def test_well_known_names(documents: dict[str, Document], name: str, kind: str, in_title: str) -> None:
    document = documents[name]
    assert document.metadata["kind"] == kind
    assert in_title in document.title
    assert document.text


def test_private_names_and_tests_are_left_out(documents: dict[str, Document]) -> None:
    for name in documents:
        parts = name.split(".")
        assert not any(part.startswith("_") and part != "__future__" for part in parts), name
        assert not {"test", "tests", "idlelib", "lib2to3"} & set(parts[:-1]), name


def test_everything_can_be_stored(documents: dict[str, Document]) -> None:
    for document in documents.values():
        (document.title + document.text).encode()
        assert "\0" not in document.title + document.text
