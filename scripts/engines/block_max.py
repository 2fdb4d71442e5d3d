"""bmp: block-max pruning (Mallia, Suel, Tonellotto, SIGIR 2024), by block size."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from scipy import sparse
from vectors import Vectors

from engines.base import Engine, weights_by_name


class Bmp(Engine):
    # alpha lowers bounds, beta drops query terms; 1 and 1 are exact up to rounded query weights.
    settings: ClassVar = {
        "alpha 1": (1.0, 1.0),
        "alpha .8": (0.8, 1.0),
        "alpha .6": (0.6, 1.0),
    }

    def __init__(self, block: int) -> None:
        self.name = f"bmp, block {block}"
        self.block = block

    def build(self, vectors: Vectors, folder: Path) -> None:
        import bmp

        indexer = bmp.Indexer(str(folder / "bmp"), self.block, True)
        number = 0
        for chunk in vectors.chunks():
            names = [str(term) for term in range(chunk.shape[1])]
            for i in range(chunk.shape[0]):
                part = slice(chunk.indptr[i], chunk.indptr[i + 1])
                terms = map(names.__getitem__, chunk.indices[part].tolist())
                indexer.add_document(str(number), dict(zip(terms, chunk.data[part].tolist(), strict=True)))
                number += 1
        indexer.finish()

    def open(self, folder: Path, vocabulary: int) -> None:
        import bmp

        self.searcher = bmp.Searcher(str(folder / "bmp"))

    def prepare(self, query: sparse.csr_array) -> dict[str, float]:
        return weights_by_name(query)

    def search(self, query: Any, k: int, setting: tuple[float, float]) -> list[int]:
        return [int(number) for number in self.searcher.search(query, k, *setting)[0]]
