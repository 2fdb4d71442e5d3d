"""Marking documents of a segment as deleted, with the statistics of what is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.index.deletions import deleted_path, text_frequencies_path, write_deletions
from lsr.index.errors import IndexProblem
from lsr.index.manifest import SegmentEntry
from lsr.index.segment import Segment
from lsr.index.store import StoredDocument
from lsr.index.text_terms import TextTerms

TextTermsOf = Callable[[Sequence[StoredDocument]], sparse.csr_array]
_TEXTS_AT_ONCE = 1000


def mark_deleted(
    segment: Segment, dead: NDArray[np.bool_], text_terms_of: TextTermsOf | None
) -> tuple[SegmentEntry, list[Path]]:
    """Write the set of a segment's deleted documents, where there are new ones.

    Args:
        dead: documents to be deleted now, shape (documents,).
        text_terms_of: gives the terms of stored texts; needed where the segment counts such terms
            and does not keep them by document.

    Returns:
        The entry that names the set, and the files written.
    """
    if not dead.any():
        return segment.entry, []
    new = np.flatnonzero(dead)
    frequencies = segment.text_frequencies
    if frequencies is not None:
        frequencies = frequencies - _text_frequencies(segment, new, len(frequencies), text_terms_of)
    everything = np.union1d(new, segment.deleted)
    entry = write_deletions(segment.folder, segment.entry, everything, frequencies)
    written = [deleted_path(segment.folder, entry)]
    if frequencies is not None:
        written.append(text_frequencies_path(segment.folder, entry))
    return entry, written


def _text_frequencies(
    segment: Segment, documents: NDArray[np.int64], width: int, text_terms_of: TextTermsOf | None
) -> NDArray[np.int64]:
    """Return how many of some documents hold each term in their text, shape (width,)."""
    own = TextTerms.open(segment.folder)
    if own is not None:
        return own.frequencies(documents, width)
    counts = np.zeros(width, np.int64)
    for start in range(0, len(documents), _TEXTS_AT_ONCE):
        found = list(segment.store.documents(documents[start : start + _TEXTS_AT_ONCE].tolist()).values())
        if text_terms_of is None or any(document.text is None for document in found):
            why = "" if text_terms_of is None else ", and its texts are not stored"
            raise IndexProblem(
                f"{segment.folder} counts the terms of its texts but does not keep them by document{why}, so "
                "nothing can be deleted from it exactly; build the index again."
            )
        counts += np.bincount(text_terms_of(found).indices, minlength=width)[:width]
    return counts
