"""Approximate peers in Rust: pyseismic-lsr (clustered posting lists) and kannolo (a graph)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from vectors import Vectors

from engines.base import Engine


class Seismic(Engine):
    """Seismic (Bruch, Nardini, Rulli, Venturini, SIGIR 2024), built with its defaults."""

    name = "pyseismic-lsr"
    # Query terms looked up; factor on the threshold that a block's summary must beat.
    settings: ClassVar = {
        "cut 32 heap .6": (32, 0.6),
        "cut 20 heap .7": (20, 0.7),
        "cut 10 heap .8": (10, 0.8),
        "cut 10 heap .9": (10, 0.9),
        "cut 5 heap .9": (5, 0.9),
        "cut 3 heap 1": (3, 1.0),
    }

    def build(self, vectors: Vectors, folder: Path) -> None:
        import seismic

        dataset = seismic.SeismicDataset()
        number = 0
        for chunk in vectors.chunks():
            ids = [str(number + i) for i in range(chunk.shape[0])]
            values = chunk.data.astype(np.float32)
            dataset.add_documents_by_id(ids, chunk.indices.astype(np.int64), values, chunk.indptr.astype(np.int64))  # fmt: skip
            number += chunk.shape[0]
        seismic.SeismicIndex.build_from_dataset(dataset, num_threads=1).save(str(folder / "seismic"))

    def open(self, folder: Path, vocabulary: int) -> None:
        import seismic

        self.string = seismic.get_seismic_string()
        self.index = seismic.SeismicIndex.load(str(next(folder.glob("seismic*"))))

    def prepare(self, query: sparse.csr_array) -> tuple[Any, Any]:
        return np.array(list(map(str, query.indices.tolist())), dtype=self.string), query.data

    def search(self, query: tuple[Any, Any], k: int, setting: tuple[int, float]) -> list[int]:
        found = self.index.search("", query[0], query[1], k, setting[0], setting[1])
        return [int(number) for _, _, number in found]


class Kannolo(Engine):
    """kANNolo's HNSW graph over sparse vectors (ECIR 2025), built with its defaults."""

    name = "kannolo, HNSW"
    settings: ClassVar = {"ef 400": 400, "ef 200": 200, "ef 100": 100, "ef 50": 50, "ef 20": 20}

    def build(self, vectors: Vectors, folder: Path) -> None:
        import kannolo

        documents = vectors.matrix()
        terms, starts = documents.indices.astype(np.int32), documents.indptr.astype(np.int64)
        arrays = terms, documents.data.astype(np.float32), starts
        kannolo.SparsePlainHNSW.build_from_arrays(*arrays).save(str(folder / "kannolo"))

    def open(self, folder: Path, vocabulary: int) -> None:
        import kannolo

        self.index = kannolo.SparsePlainHNSW.load(str(folder / "kannolo"))

    def prepare(self, query: sparse.csr_array) -> tuple[Any, Any]:
        return query.indices.astype(np.int32), query.data.astype(np.float32)

    def search(self, query: tuple[Any, Any], k: int, setting: int) -> list[int]:
        return list(self.index.search(*query, k, max(k, setting))[1].tolist())
