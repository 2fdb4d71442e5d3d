"""A sharded index answers as one index of all documents does: documents, score bits, order, filters."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lsr.index import (
    DocumentRecord,
    Index,
    IndexEditor,
    IndexProblem,
    IndexWriter,
    ShardedIndex,
    open_index,
)
from lsr.index.sharded import ShardList

WIDTH = 9
TERMS = [f"t{i}" for i in range(WIDTH)]


def fields(number: int) -> dict[str, Any]:
    """A field of one type, and one whose type the first shard alone would get wrong."""
    return {"m": number, "n": number if number < 5 else f"x{number}"}


def build(folder: Path, rows: np.ndarray, first: int, maximum: float, bm25: float | None = None) -> None:
    options = {"bm25": (1.2, 0.75), "average_length": bm25} if bm25 else {"impact_maximum": maximum}
    with IndexWriter(folder, encoder={"name": "test", "fingerprint": "f"}, **options) as writer:  # type: ignore[arg-type]
        (writer.encoder_folder / "query_encoder.json").write_text('{"kind": "external"}')
        documents = [DocumentRecord(f"d{first + i}", metadata=fields(first + i)) for i in range(len(rows))]
        writer.add(sparse.csr_array(rows), documents)
        writer.commit(TERMS)


def build_both(
    folder: Path, rows: np.ndarray, cuts: list[int], bm25: bool = False
) -> tuple[Index, ShardedIndex]:
    maximum = float(rows.max()) or 1.0
    average = float(rows.sum(axis=1).mean(dtype=np.float64)) or 1.0
    build(folder / "one", rows, 0, maximum, average if bm25 else None)
    bounds = [0, *sorted(cuts), len(rows)]
    names = []
    for number, (low, high) in enumerate(itertools.pairwise(bounds)):
        names.append(f"shard-{number}")
        build(folder / "many" / names[-1], rows[low:high], low, maximum, average if bm25 else None)
    ShardList("now", tuple(names)).write(folder / "many")
    many = open_index(folder / "many")
    assert isinstance(many, ShardedIndex)
    return Index(folder / "one"), many


@settings(max_examples=30, deadline=None)
@given(
    # Few values: equal scores are common, and their order is what shards could get wrong.
    codes=st.lists(
        st.lists(st.sampled_from([0, 0, 1, 2, 3]), min_size=WIDTH, max_size=WIDTH), min_size=1, max_size=25
    ),
    cuts=st.lists(st.integers(0, 25), max_size=3),
    query=st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.7]), min_size=WIDTH, max_size=WIDTH),
    k=st.integers(1, 12),
    bm25=st.booleans(),
)
def test_same_as_one_index(tmp_path_factory, codes, cuts, query, k, bm25) -> None:  # type: ignore[no-untyped-def]
    rows = np.array(codes, np.float32)
    cuts = [min(cut, len(rows)) for cut in cuts]
    one, many = build_both(tmp_path_factory.mktemp("sharded"), rows, cuts, bm25)
    with one, many:
        asked = sparse.csr_array(np.array([query], np.float32))
        (a,), (b,) = one.search(asked, k), many.search(asked, k)
        assert a.documents.tolist() == b.documents.tolist()
        assert a.scores.tobytes() == b.scores.tobytes()
        terms = np.arange(-1, WIDTH + 1)
        assert (one.document_frequencies(terms) == many.document_frequencies(terms)).all()
        assert (one.text_document_frequencies(terms) == many.text_document_frequencies(terms)).all()
        assert one.document_count == many.document_count
        assert one.average_length() == many.average_length()
        assert one.fields == many.fields
        filters = ["m < 3", "m = 4 or id = 'd2'", *["n = 'x7' or n = '3'"] * (len(rows) > 5)]
        for where in filters:
            assert many.matching(where).tolist() == one.matching(where).tolist()
        everything = np.arange(one.number_bound)
        assert one.document_ids(everything) == many.document_ids(everything)
        assert one.documents(everything) == many.documents(everything)
        assert one.vocabulary() == many.vocabulary()
        assert [one.explain(asked, d) for d in everything] == [many.explain(asked, d) for d in everything]


def test_bytes_are_counted_and_verified(tmp_path: Path) -> None:
    rows = np.arange(1, 4 * WIDTH + 1, dtype=np.float32).reshape(4, WIDTH)
    _, many = build_both(tmp_path, rows, [1, 3])
    with many:
        assert many.shards == ("shard-0", "shard-1", "shard-2")
        assert many.shard_bases == [0, 1, 3, 4]
        total = sum(p.stat().st_size for p in (tmp_path / "many").rglob("*") if p.is_file())
        assert many.sizes()["total"] == total
        assert many.sizes()["postings"] > 0
        assert many.verify() == sum(file.bytes for file in many.manifest.files)
        path = next((tmp_path / "many" / "shard-1" / "segments").rglob("codes.npy"))
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
        with pytest.raises(IndexProblem, match=r"shard-1/segments/.*codes\.npy is damaged"):
            many.verify()


def test_a_shard_that_changes_is_taken_up(tmp_path: Path) -> None:
    rows = np.ones((4, WIDTH), np.float32)
    _, many = build_both(tmp_path, rows, [2])
    with many:
        assert many.refresh() is many
        with IndexEditor(tmp_path / "many" / "shard-1") as editor:
            editor.delete(["d2"])
            editor.commit()
        newer = many.refresh()
        assert (many.document_count, newer.document_count) == (4, 3)
        (hits,) = newer.search(sparse.csr_array(np.ones((1, WIDTH), np.float32)))
        assert hits.documents.tolist() == [0, 1, 3]
        newer.close()


def test_mistakes(tmp_path: Path) -> None:
    rows = np.ones((4, WIDTH), np.float32)
    _, many = build_both(tmp_path, rows, [2])
    many.close()
    folder = tmp_path / "many"
    with pytest.raises(IndexProblem, match="is a sharded index, which is searched but not changed"):
        IndexEditor(folder)
    with pytest.raises(IndexProblem, match="is a sharded index; choose another folder with -o"):
        IndexWriter(folder, encoder={})
    build(folder / "other", rows, 10, maximum=7.0)
    ShardList("now", ("shard-0", "other")).write(folder)
    with pytest.raises(IndexProblem, match="other does not belong to the other shards"):
        open_index(folder)
    ShardList("now", ("shard-0", "gone")).write(folder)
    with pytest.raises(IndexProblem, match=r"There is no index at .*gone"):
        open_index(folder)
    content = json.loads((folder / "shards.json").read_bytes())
    for body in (
        b"[]",
        b"{",
        json.dumps({**content, "shards": ["../one"]}).encode(),
        b'{"format": "lsr-shards"}',
    ):
        (folder / "shards.json").write_bytes(body)
        with pytest.raises(IndexProblem, match=r"shards\.json is damaged"):
            open_index(folder)
    newer = {**content, "version": 99}
    (folder / "shards.json").write_text(json.dumps(newer))
    with pytest.raises(IndexProblem, match="newer form"):
        open_index(folder)
