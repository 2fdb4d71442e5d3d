"""A set of documents to search within, in the form that kernels want."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from lsr.index.postings import WINDOW

# In a window with more allowed documents than this, looking each up costs more than scoring all.
_FEW = WINDOW // 128


class Allowed(NamedTuple):
    """A filter over the documents of a segment.

    Attributes:
        mask: uint8 [documents], not 0 where a document may be returned.
        counts: int64 [windows], allowed documents of each window.
        members: uint16, places in their window of the allowed documents, for windows with few.
        member_starts: int64 [windows + 1], where each window's members start; a window with many
            has none.
    """

    mask: NDArray[np.uint8]
    counts: NDArray[np.int64]
    members: NDArray[np.uint16]
    member_starts: NDArray[np.int64]


@nb.njit(nogil=True, cache=True)
def find(offsets: Any, start: Any, stop: Any, wanted: Any) -> Any:
    """Return the first place in ``start:stop`` whose offset is not below `wanted`, by galloping."""
    if start >= stop or offsets[start] >= wanted:
        return start
    step = np.int64(1)
    while start + step < stop and offsets[start + step] < wanted:
        start += step
        step *= 2
    low = start + 1
    high = min(start + step, stop)
    while low < high:
        middle = (low + high) // 2
        if offsets[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@nb.njit(nogil=True, cache=True)
def _list(mask: Any, eights: Any, counts: Any, starts: Any) -> Any:
    """Count the allowed documents of each window and list those of windows with few.

    `eights` is the same mask, eight documents a number.
    """
    total = 0
    for window in range(len(counts)):
        first = window * (WINDOW // 8)
        last = min(first + WINDOW // 8, len(eights))
        count: Any = np.int64(0)
        # Eight sums ride in one number, and stay below 256 for 128 additions.
        while first < last:
            group = eights[first : min(first + 128, last)]
            sums = np.uint64(0)
            for i in range(len(group)):
                sums += group[i]
            for _ in range(8):
                count += np.int64(sums & np.uint64(255))
                sums >>= np.uint64(8)
            first += 128
        if window == len(counts) - 1:
            for document in range(8 * len(eights), len(mask)):
                count += np.int64(mask[document])
        counts[window] = count
        starts[window] = total
        if count <= _FEW:
            total += count
    starts[len(counts)] = total
    members = np.empty(total, np.uint16)
    for window in range(len(counts)):
        place = starts[window]
        stop = starts[window + 1]
        base = window * WINDOW
        document = base
        while place < stop:
            if document % 8 == 0 and document // 8 < len(eights) and eights[document // 8] == 0:
                document += 8
                continue
            if mask[document]:
                members[place] = document - base
                place += 1
            document += 1
    return members


_NOTHING = Allowed(
    np.frombuffer(b"", np.uint8), np.empty(0, np.int64), np.empty(0, np.uint16), np.empty(0, np.int64)
)


def listed(allowed: NDArray[np.bool_] | None, document_count: int) -> Allowed:
    """Return a filter in kernel form; for None, empty arrays of the same types.

    Raises:
        ValueError: where `allowed` has not one boolean for each document.
    """
    if allowed is None:
        return _NOTHING
    if allowed.shape != (document_count,) or allowed.dtype != np.bool_:
        raise ValueError(f"a filter of {document_count} documents is {allowed.dtype} of {allowed.shape}")
    mask = np.ascontiguousarray(allowed).view(np.uint8)
    mask.flags.writeable = False
    windows = (document_count + WINDOW - 1) // WINDOW
    counts = np.empty(windows, np.int64)
    starts = np.empty(windows + 1, np.int64)
    eights = mask[: document_count // 8 * 8].view(np.uint64)
    return Allowed(mask, counts, _list(mask, eights, counts, starts), starts)
