"""The deleted documents of a segment: a small immutable file that each change writes anew.

A segment's own files never change. ``deleted-TOKEN.npy`` lists the local numbers of all its deleted
documents, rising; where the segment counts the terms of its texts, ``text_frequencies-TOKEN.npy``
holds the counts of what is left. The manifest names the token.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lsr.index.errors import IndexProblem
from lsr.index.files import map_array, write_array
from lsr.index.manifest import SegmentEntry


def deleted_path(folder: Path, entry: SegmentEntry) -> Path:
    """Return where the deleted documents of a segment are listed."""
    return folder / f"deleted-{entry.deletions}.npy"


def text_frequencies_path(folder: Path, entry: SegmentEntry) -> Path:
    """Return where the text frequencies of a segment's live documents lie."""
    return folder / (f"text_frequencies-{entry.deletions}.npy" if entry.deletions else "text_frequencies.npy")


def write_deletions(
    folder: Path,
    entry: SegmentEntry,
    deleted: NDArray[np.int64],
    text_frequencies: NDArray[np.int64] | None = None,
) -> SegmentEntry:
    """Write the set of a segment's deleted documents and return the entry that names it.

    Args:
        deleted: local numbers of all deleted documents, those deleted before included.
        text_frequencies: those of the documents left, where the segment counts them.
    """
    entry = replace(entry, deleted=len(deleted), deletions=secrets.token_hex(6))
    write_array(deleted_path(folder, entry), np.sort(deleted).astype(np.uint32))
    if text_frequencies is not None:
        write_array(text_frequencies_path(folder, entry), text_frequencies.astype(np.int64))
    return entry


def read_live(folder: Path, entry: SegmentEntry) -> NDArray[np.bool_] | None:
    """Return which documents of a segment are live, shape (documents,); None where all are.

    Raises:
        IndexProblem: where the file is missing or holds anything but rising numbers of documents.
    """
    if not entry.deletions:
        return None
    path = deleted_path(folder, entry)
    deleted = map_array(path, np.dtype(np.uint32))
    rising = bool(np.all(deleted[1:] > deleted[:-1]))
    if len(deleted) != entry.deleted or not rising or (len(deleted) and deleted[-1] >= entry.documents):
        raise IndexProblem(f"{path} is damaged: it does not fit its segment; build the index again.")
    live = np.ones(entry.documents, np.bool_)
    live[deleted] = False
    live.flags.writeable = False
    return live
