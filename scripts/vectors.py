"""Read a corpus of vectors: the folder with the real ones, or one that grow_corpus.py wrote."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

KINDS = ("free", "expanded")
_CHUNK = 50_000
_SUBSET_SEED = 20_261_122


class Vectors:
    """Documents and queries of one folder, at most `count` documents of it.

    A folder of real vectors has a ``load.py`` with ``documents()`` (CSR, uint8 impacts) and
    ``queries(kind)`` (CSR, float32 weights). Fewer documents than all are a random sample, always the
    same. A grown folder holds raw ``.npy`` parts in random order; there the first documents are taken.
    """

    def __init__(self, folder: Path, count: int | None = None) -> None:
        self.folder = folder
        if (folder / "corpus.json").exists():
            self.about: dict[str, Any] | None = json.loads((folder / "corpus.json").read_text())
            total = int(self.about["documents"])
        else:
            self.about = None
            total = self._real.shape[0]
        if count is not None and count > total:
            raise SystemExit(f"{folder} has {total:,} documents, not {count:,}.")
        self.count = count or total

    @cached_property
    def _load(self) -> Any:
        spec = importlib.util.spec_from_file_location("vectors_load", self.folder / "load.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    @cached_property
    def _real(self) -> sparse.csr_array:
        return self._load.documents()

    def queries(self, kind: str) -> sparse.csr_array:
        """Return the query weights of a kind, shape (queries, vocabulary), float32, sorted terms."""
        if self.about is None:
            queries = self._load.queries(kind)
        else:
            queries = sparse.csr_array(sparse.load_npz(self.folder / f"queries-{kind}.npz"))
        queries.sort_indices()
        return queries

    def chunks(self, size: int = _CHUNK) -> Iterator[sparse.csr_array]:
        """Yield the documents in order, at most `size` at a time, as CSR of uint8 impacts."""
        if self.about is None:
            whole = self.matrix()
            for start in range(0, self.count, size):
                yield whole[start : start + size]
            return
        left = self.count
        for part in range(int(self.about["parts"])):
            lengths = np.load(self.folder / f"lengths-{part:03}.npy")
            ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
            terms = np.load(self.folder / f"terms-{part:03}.npy", mmap_mode="r")
            impacts = np.load(self.folder / f"impacts-{part:03}.npy", mmap_mode="r")
            for start in range(0, min(len(lengths), left), size):
                stop = min(start + size, len(lengths), left)
                low, high = int(ends[start]), int(ends[stop])
                arrays = impacts[low:high], terms[low:high].astype(np.int32), ends[start : stop + 1] - low
                yield sparse.csr_array(arrays, shape=(stop - start, int(self.about["vocabulary"])))
            left -= min(left, len(lengths))
            if not left:
                return

    def matrix(self) -> sparse.csr_array:
        """Return all documents as one CSR of uint8 impacts; 5 bytes a posting."""
        if self.about is None:
            if self.count == self._real.shape[0]:
                return self._real
            order = np.random.default_rng(_SUBSET_SEED).permutation(self._real.shape[0])
            return self._real[order[: self.count]]
        shapes = [(np.diff(chunk.indptr), chunk.shape[1]) for chunk in self.chunks()]
        starts = np.concatenate([[0], np.cumsum(np.concatenate([lengths for lengths, _ in shapes]))])
        indices, data = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.uint8)
        end = 0
        for chunk in self.chunks():
            indices[end : end + chunk.nnz], data[end : end + chunk.nnz] = chunk.indices, chunk.data
            end += chunk.nnz
        return sparse.csr_array((data, indices, starts), shape=(self.count, shapes[0][1]))
