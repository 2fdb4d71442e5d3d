"""Documents that occur twice, found over all chunks by digests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsr.cluster.executors import Executor, Work
from lsr.cluster.reading import Chunk

# Digests that one piece holds in memory, 40 bytes each.
DIGESTS_A_PIECE = 4_000_000

Masks = dict[int, NDArray[np.bool_]]
"""By the number of a chunk, which of its documents are dropped; a chunk that loses none is not there."""


@dataclass(frozen=True)
class RepeatStage:
    """Finds repeated digests within a range of their upper halves."""

    work: str
    stems: tuple[str, ...]
    kind: str  # "ids" or "texts"
    dropped: Masks

    def open(self) -> Work:
        """Return what searches one range, given as its first and last value."""
        return lambda bounds: self.find(*bounds)

    def find(self, low: int, high: int) -> NDArray[np.int64]:
        """Return chunk and row of documents whose digest an earlier one has, shape (repeats, 2)."""
        keys, places = [], []
        for number, stem in enumerate(self.stems):
            found = np.load(Path(self.work) / f"{stem}.{self.kind}.npy", mmap_mode="r", allow_pickle=False)
            first = np.searchsorted(found["high"], np.uint64(low), side="left")
            last = np.searchsorted(found["high"], np.uint64(high), side="right")
            part = np.asarray(found[first:last])
            if number in self.dropped:
                part = part[~self.dropped[number][part["row"]]]
            keys.append(part)
            places.append(np.full(len(part), number, np.int64))
        digests, chunks = np.concatenate(keys), np.concatenate(places)
        order = np.lexsort((digests["row"], chunks, digests["low"], digests["high"]))
        digests, chunks = digests[order], chunks[order]
        same = (digests["high"][1:] == digests["high"][:-1]) & (digests["low"][1:] == digests["low"][:-1])
        repeated = np.flatnonzero(same) + 1
        return np.stack([chunks[repeated], digests["row"][repeated].astype(np.int64)], axis=1)


def find_repeats(
    executor: Executor, work: Path, chunks: Sequence[Chunk], kind: str, dropped: Masks
) -> NDArray[np.int64]:
    """Return chunk and row of all documents with the digest of an earlier one, in order.

    Documents that are dropped already count as not there.
    """
    total = sum(chunk.documents for chunk in chunks)
    count = max(1, -(-total // DIGESTS_A_PIECE))
    bounds = [(i << 64) // count for i in range(count + 1)]
    pieces = [(low, high - 1) for low, high in pairwise(bounds)]
    stage = RepeatStage(str(work), tuple(chunk.stem for chunk in chunks), kind, dropped)
    parts = [found for _, found in executor.run(stage, pieces)]
    repeats = np.concatenate([*parts, np.empty((0, 2), np.int64)])
    return repeats[np.lexsort((repeats[:, 1], repeats[:, 0]))]


def drop(dropped: Masks, repeats: NDArray[np.int64], chunks: Sequence[Chunk]) -> None:
    """Mark documents as dropped."""
    for number in np.unique(repeats[:, 0]).tolist():
        mask = dropped.setdefault(number, np.zeros(chunks[number].documents, np.bool_))
        mask[repeats[repeats[:, 0] == number, 1]] = True


def kept_rows(chunk: Chunk, number: int, dropped: Masks) -> NDArray[Any]:
    """Return the rows of a chunk that are not dropped."""
    if number in dropped:
        return np.flatnonzero(~dropped[number])
    return np.arange(chunk.documents)
