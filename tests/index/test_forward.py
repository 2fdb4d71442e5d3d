"""Posting lists turned back to documents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lsr.index import DocumentRecord, Index, IndexEditor, IndexWriter
from lsr.index.forward import forward_rows


def collected(index: Index, documents_at_once: int) -> tuple[list[int], sparse.csr_array]:
    parts = list(forward_rows(index, documents_at_once))
    assert all(0 < len(part.numbers) <= documents_at_once for part in parts)
    numbers = [number for part in parts for number in part.numbers.tolist()]
    if not parts:
        return numbers, sparse.csr_array((0, index.vocabulary_size))
    return numbers, sparse.csr_array(sparse.vstack([part.codes for part in parts]))


@settings(max_examples=25, deadline=None)
@given(
    codes=st.lists(st.lists(st.integers(0, 255), min_size=7, max_size=7), min_size=1, max_size=30),
    cut=st.integers(0, 30),
    gone=st.sets(st.integers(0, 29)),
    at_once=st.integers(1, 9),
)
def test_rows_are_what_was_added(tmp_path_factory, codes, cut, gone, at_once) -> None:  # type: ignore[no-untyped-def]
    folder: Path = tmp_path_factory.mktemp("forward") / "an.index"
    rows = np.array(codes, np.float32)
    terms = [f"t{i}" for i in range(7)]
    first, second = rows[: max(1, min(cut, len(rows)))], rows[max(1, min(cut, len(rows))) :]
    ids = [f"d{i}" for i in range(len(rows))]
    with IndexWriter(folder, encoder={"name": "test"}, impact_maximum=255.0) as writer:
        writer.add(sparse.csr_array(first), [DocumentRecord(i) for i in ids[: len(first)]])
        writer.commit(terms)
    with IndexEditor(folder, merge=False) as editor:
        if len(second):
            editor.add(sparse.csr_array(second), [DocumentRecord(i) for i in ids[len(first) :]])
        editor.delete([f"d{i}" for i in gone if i < len(rows)])
        editor.commit(terms)
    with Index(folder) as index:
        numbers, found = collected(index, at_once)
        kept = [i for i in range(len(rows)) if i not in gone]
        assert numbers == kept
        assert found.shape == (len(kept), 7)
        assert (found.toarray() == rows[kept]).all()
        assert found.has_sorted_indices


def test_more_documents_than_a_window(tmp_path: Path) -> None:
    count = 70_000
    generator = np.random.default_rng(8)
    rows = sparse.random_array((count, 50), density=0.05, format="csr", rng=generator, dtype=np.float32)
    rows.data = generator.integers(1, 255, rows.nnz, endpoint=True).astype(np.float32)
    with IndexWriter(tmp_path / "an.index", encoder={"name": "test"}, impact_maximum=255.0) as writer:
        writer.add(rows, [DocumentRecord(str(i)) for i in range(count)])
        writer.commit([f"t{i}" for i in range(50)])
    with Index(tmp_path / "an.index") as index:
        numbers, found = collected(index, 2_000)
        assert numbers == list(range(count))
        assert (found != rows.astype(np.uint8)).nnz == 0
