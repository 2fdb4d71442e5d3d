"""Which documents are encoded together, and which go into a shard.

A weight's last bits may depend on the texts that were encoded in the same batch. Batches are therefore
those that one machine would have made of the same corpus, wherever the corpus was divided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lsr.cluster.chunks import Span
from lsr.cluster.reading import Chunk
from lsr.cluster.repeats import Masks, kept_rows
from lsr.retrieval.batches import BATCH_CHARACTERS, BATCH_DOCUMENTS

MOST_BATCHES_A_RUN = 20


@dataclass(frozen=True)
class Run:
    """Whole batches that one worker encodes one after the other; documents count from `first` in all."""

    number: int
    first: int
    documents: int
    spans: tuple[Span, ...]


def plan_batches(work: Path, chunks: Sequence[Chunk], dropped: Masks) -> NDArray[np.int64]:
    """Return where batches begin among the documents kept, and the number of those: shape (batches + 1,)."""
    starts = [0]
    done = in_batch = characters = 0
    for number, chunk in enumerate(chunks):
        lengths = np.load(work / f"{chunk.stem}.lengths.npy", allow_pickle=False)
        sums = np.cumsum(lengths[kept_rows(chunk, number, dropped)], dtype=np.int64)
        place = 0
        while place < len(sums):
            before = int(sums[place - 1]) if place else 0
            by_count = place + BATCH_DOCUMENTS - in_batch
            by_size = int(np.searchsorted(sums, before + BATCH_CHARACTERS - characters)) + 1
            stop = min(by_count, by_size)
            if stop > len(sums):
                in_batch += len(sums) - place
                characters += int(sums[-1]) - before
                break
            starts.append(done + stop)
            in_batch = characters = 0
            place = stop
        done += len(sums)
    if starts[-1] < done:
        starts.append(done)
    return np.array(starts, np.int64)


def plan_runs(chunks: Sequence[Chunk], dropped: Masks, batches: NDArray[np.int64], workers: int) -> list[Run]:
    """Return runs of batches, some for each worker, so that all are busy to the end."""
    count = len(batches) - 1
    size = max(1, min(MOST_BATCHES_A_RUN, count // (4 * workers)))
    sizes = [
        chunk.documents - int(dropped[number].sum()) if number in dropped else chunk.documents
        for number, chunk in enumerate(chunks)
    ]
    ends = np.cumsum(sizes)
    runs: list[Run] = []
    for start in range(0, count, size):
        first, last = int(batches[start]), int(batches[min(start + size, count)])
        runs.append(Run(len(runs), first, last - first, tuple(_spans(ends, sizes, first, last))))
    return runs


def _spans(ends: NDArray[np.int64], sizes: Sequence[int], first: int, last: int) -> list[Span]:
    spans = []
    chunk = int(np.searchsorted(ends, first, side="right"))
    while first < last:
        begin = int(ends[chunk]) - sizes[chunk]
        stop = min(last, int(ends[chunk]))
        if stop > first:
            spans.append(Span(chunk, first - begin, stop - begin))
        first, chunk = stop, chunk + 1
    return spans


def plan_shards(documents: int, shards: int) -> list[tuple[int, int]]:
    """Return the first document and the one after the last of each shard, as equal as can be."""
    shards = max(1, min(shards, documents))
    bounds = [documents * i // shards for i in range(shards + 1)]
    return list(pairwise(bounds))
