"""A small index, every kind of change to it, and all that a reader can know of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from lsr.index import DocumentRecord, Index, IndexEditor, IndexWriter, merge_policy
from lsr.index.manifest import MANIFEST, Manifest

VOCABULARY = [f"t{i}" for i in range(12)]
ALL_TERMS = sparse.csr_array(np.ones((1, len(VOCABULARY)), np.float32))
"""A query that every document with a term answers."""


def rows(first: int, count: int) -> sparse.csr_array:
    """Return weights that are told apart by document number, shape (count, vocabulary)."""
    weights = np.zeros((count, len(VOCABULARY)), np.float32)
    for row in range(count):
        for step in range(4):
            weights[row, ((first + row) * (step + 1) + step) % len(VOCABULARY)] = 1 + (first + row) % 7 + step
    return sparse.csr_array(weights)


def records(first: int, count: int, form: str = "") -> list[DocumentRecord]:
    """Return as many documents, with fields."""
    return [
        DocumentRecord(f"d{i}", f"title {i}", f"text {i}{form}", {"year": 2000 + i, "form": form or "first"})
        for i in range(first, first + count)
    ]


def create(folder: Path, *, count: int = 9, overwrite: bool = False, bm25: bool = False) -> None:
    """Build an index."""
    with IndexWriter(
        folder,
        encoder={"name": "test"},
        bm25=(1.2, 0.75) if bm25 else None,
        impact_maximum=None if bm25 else 16.0,
        overwrite=overwrite,
    ) as writer:
        (writer.encoder_folder / "query_encoder.json").write_text('{"kind": "test"}')
        for first in range(0, count, 5):
            part = min(5, count - first)
            writer.add(rows(first, part), records(first, part), rows(first + 1, part))
        writer.commit(VOCABULARY)


def _edit(folder: Path, change: Callable[[IndexEditor], object], *, merge: bool = False) -> None:
    with IndexEditor(folder, merge=merge) as editor:
        change(editor)
        editor.commit()


def add(folder: Path) -> None:
    """Add documents in two batches, without merging."""

    def change(editor: IndexEditor) -> None:
        editor.add(rows(20, 4), records(20, 4), rows(21, 4))
        editor.add(rows(24, 3), records(24, 3), rows(25, 3))

    _edit(folder, change)


def delete(folder: Path) -> None:
    """Delete documents."""
    _edit(folder, lambda editor: editor.delete(["d1", "d4", "d6"]))


def update(folder: Path) -> None:
    """Replace documents, and add one that is new."""
    _edit(folder, lambda editor: editor.update(rows(2, 3), records(2, 3, " again"), rows(3, 3)))


def everything(folder: Path) -> None:
    """Add, delete and replace in one commit."""

    def change(editor: IndexEditor) -> None:
        editor.delete(["d0", "d7"])
        editor.add(rows(30, 3), records(30, 3), rows(31, 3))
        editor.update(rows(3, 2), records(3, 2, " anew"), rows(4, 2))
        editor.delete(["d31"])

    _edit(folder, change)


def add_and_merge(folder: Path) -> None:
    """Add documents, after which small segments are merged, as few as two of them."""
    factor, merge_policy.FACTOR = merge_policy.FACTOR, 2
    try:
        _edit(folder, lambda editor: editor.add(rows(20, 4), records(20, 4), rows(21, 4)), merge=True)
    finally:
        merge_policy.FACTOR = factor


def compact(folder: Path) -> None:
    """Make all segments one, without deleted documents."""
    with IndexEditor(folder) as editor:
        editor.compact()


def refresh(folder: Path) -> None:
    """Compact and weigh anew, under BM25."""
    with IndexEditor(folder) as editor:
        editor.compact(refresh=True)


OPERATIONS: dict[str, Callable[[Path], None]] = {
    "create": create,
    "overwrite": lambda folder: create(folder, count=5, overwrite=True),
    "add": add,
    "delete": delete,
    "update": update,
    "everything": everything,
    "add and merge": add_and_merge,
    "compact": compact,
    "refresh": refresh,
}


def contents(folder: Path) -> Any:
    """Return all that readers can know of an index, and None where there is none; every byte is verified."""
    if not (folder / MANIFEST).exists():
        return None
    with Index(folder) as index:
        index.verify()
        numbers = index.document_numbers([f"d{i}" for i in range(40)])
        live = np.sort(numbers[numbers >= 0])
        assert len(live) == index.document_count
        terms = np.arange(index.vocabulary_size)
        found = index.search(sparse.eye_array(len(VOCABULARY), dtype=np.float32, format="csr"), 100)
        ids = {
            number: document.id for number, document in zip(live.tolist(), index.documents(live), strict=True)
        }
        return (
            [document._replace(number=0) for document in index.documents(live)],
            [([ids[number] for number in hits.documents.tolist()], hits.scores.tobytes()) for hits in found],
            index.document_frequencies(terms).tolist(),
            index.text_document_frequencies(terms).tolist(),
            [
                ids[number]
                for number in live.tolist()
                if index.matching("year > 2003 and form = 'first'")[number]
            ],
            index.terms(terms),
        )


def prepare(folder: Path) -> None:
    """Give an index a second segment, and both of them deleted documents."""
    _edit(folder, lambda editor: editor.add(rows(10, 5), records(10, 5), rows(11, 5)))
    _edit(folder, lambda editor: editor.delete(["d8", "d12"]))


def segments(folder: Path) -> int:
    """Return the number of segments of an index, 0 where there is none."""
    return len(Manifest.read(folder).segments) if (folder / MANIFEST).exists() else 0


def copy(source: Path, target: Path) -> None:
    """Make `target` a copy of an index, or nothing where there is none."""
    shutil.rmtree(target, ignore_errors=True)
    if source.exists():
        shutil.copytree(source, target)
