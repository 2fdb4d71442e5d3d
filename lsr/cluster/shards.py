"""Building shards from encoded runs: each an ordinary index, on one grid and over one vocabulary."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.cluster.encoding import Documents, read_run, run_file
from lsr.cluster.executors import Work
from lsr.cluster.planning import Run
from lsr.cluster.work_folder import write_whole
from lsr.index import IndexWriter
from lsr.index.grid import ImpactBits
from lsr.index.manifest import MANIFEST
from lsr.retrieval.batches import BATCH_DOCUMENTS, record

QUERY_SIDE = "query-side"
VOCABULARY = "vocabulary.json"


class Shard(NamedTuple):
    """The folder's name of a shard, and its documents among all: the first, and the one after the last."""

    name: str
    first: int
    stop: int


@dataclass(frozen=True)
class ShardStage:
    """Builds shards.

    Attributes:
        maximum: top of the impact grid, the largest weight of all documents.
        bm25: k1, b and the average length of all documents; None for impacts.
        width: size of the vocabulary.
        known: how many terms the encoder knew before any document; all runs share their ids.
        grows: runs have terms of their own behind those, whose ids in the common vocabulary are kept beside them.
    """

    documents: Documents
    target: str
    runs: tuple[Run, ...]
    encoder: dict[str, Any]
    maximum: float
    bm25: tuple[float, float, float] | None
    bits: ImpactBits
    width: int
    known: int
    grows: bool
    store_texts: bool
    durable: bool

    def open(self) -> Work:
        """Read the vocabulary and return what builds one shard."""
        vocabulary = json.loads((Path(self.documents.work) / VOCABULARY).read_bytes())
        return lambda shard: self.build(shard, vocabulary)

    def build(self, shard: Shard, vocabulary: Sequence[str]) -> int:
        """Build a shard unless it is there, and return its number of documents."""
        folder = Path(self.target) / shard.name
        if (folder / MANIFEST).exists():
            return shard.stop - shard.first
        work = Path(self.documents.work)
        writer = IndexWriter(
            folder,
            encoder=self.encoder,
            bm25=self.bm25[:2] if self.bm25 else None,
            average_length=self.bm25[2] if self.bm25 else None,
            impact_bits=self.bits,
            impact_maximum=None if self.bm25 else self.maximum,
            store_texts=self.store_texts,
            durable=self.durable,
        )
        with writer:
            for path in sorted((work / QUERY_SIDE).iterdir()):
                shutil.copyfile(path, writer.encoder_folder / path.name)
            for run in self.runs:
                low, high = max(shard.first, run.first), min(shard.stop, run.first + run.documents)
                if low < high:
                    self._add(writer, run, low - run.first, high - run.first)
            writer.commit(vocabulary)
        return shard.stop - shard.first

    def _add(self, writer: IndexWriter, run: Run, first: int, stop: int) -> None:
        """Add the documents `first` to `stop` of a run."""
        work = Path(self.documents.work)
        arrays = read_run(work, run.number)
        weights = _rows(arrays["data"], arrays["indices"], arrays["indptr"], self.width)
        text_terms = None
        if "text_terms" in arrays:
            terms = arrays["text_terms"]
            text_terms = _rows(np.ones(len(terms), np.float32), terms, arrays["text_term_starts"], self.width)
        if self.grows:
            own = np.load(ids_file(work, run.number), allow_pickle=False)
            ids = np.concatenate([np.arange(self.known, dtype=np.int64), own])
            weights = _renumbered(weights, ids)
            text_terms = None if text_terms is None else _renumbered(text_terms, ids)
        documents = self.documents.of(run.spans)
        for _ in range(first):
            next(documents)
        for low in range(first, stop, BATCH_DOCUMENTS):
            high = min(low + BATCH_DOCUMENTS, stop)
            records = [record(next(documents)) for _ in range(low, high)]
            writer.add(weights[low:high], records, None if text_terms is None else text_terms[low:high])


def _rows(data: NDArray[Any], indices: NDArray[Any], starts: NDArray[Any], width: int) -> sparse.csr_array:
    return sparse.csr_array((data, indices, starts), shape=(len(starts) - 1, width))


def _renumbered(rows: sparse.csr_array, ids: NDArray[np.int64]) -> sparse.csr_array:
    """Return rows whose terms have other ids; `ids` has the new one of each."""
    found = sparse.csr_array((rows.data, ids[rows.indices], rows.indptr), rows.shape)
    found.sort_indices()
    return found


def ids_file(work: Path, number: int) -> Path:
    """Return where the ids of a run's own terms in the common vocabulary are kept."""
    return work / f"run-{number:06}.ids.npy"


def common_vocabulary(work: Path, runs: Sequence[Run], known: Sequence[str]) -> list[str]:
    """Return `known` and the terms of all runs in order of first occurrence, and keep each run's ids among them.

    That is the order in which one process would have met them.
    """
    ids = {term: number for number, term in enumerate(known)}
    for run in runs:
        terms = json.loads(run_file(work, run.number).read_bytes())["terms"]
        places = np.fromiter((ids.setdefault(term, len(ids)) for term in terms), np.int64, len(terms))
        write_whole(ids_file(work, run.number), partial(np.save, arr=places, allow_pickle=False))
    return list(ids)
