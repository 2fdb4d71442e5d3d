"""pyvsag: VSAG's SINDI index (arXiv 2509.08395), with float values or 8-bit ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from vectors import Vectors

from engines.base import Engine


class Sindi(Engine):
    # Shares of the query's terms and of each posting list that are left out.
    settings: ClassVar = {
        "exact": (0.0, 0.0),
        "term .01": (0.0, 0.01),
        "term .05": (0.0, 0.05),
        "query .1": (0.1, 0.0),
        "query .2 term .2": (0.2, 0.2),
    }

    def __init__(self, quantised: bool) -> None:
        self.name = "SINDI, 8 bits" if quantised else "SINDI, float"
        self.quantised = quantised

    def _empty(self, vocabulary: int, longest: int) -> Any:
        import pyvsag

        parameters = {
            "dtype": "sparse",
            "metric_type": "ip",
            "dim": longest,
            "index_param": {
                "term_id_limit": vocabulary + 1,
                "window_size": 50_000,
                "doc_prune_ratio": 0.0,
                "use_reorder": False,
                "use_quantization": self.quantised,
            },
        }
        return pyvsag.Index("sindi", json.dumps(parameters))

    def build(self, vectors: Vectors, folder: Path) -> None:
        counts = np.concatenate([np.diff(chunk.indptr) for chunk in vectors.chunks()])
        starts = np.concatenate([[0], np.cumsum(counts)])
        # The input stands in mapped files: at 8 bytes a posting it would take as much memory as the index.
        terms = np.lib.format.open_memmap(folder / "terms.npy", "w+", np.uint32, (int(starts[-1]),))
        values = np.lib.format.open_memmap(folder / "values.npy", "w+", np.float32, (int(starts[-1]),))
        end = 0
        for chunk in vectors.chunks():
            terms[end : end + chunk.nnz] = chunk.indices
            values[end : end + chunk.nnz] = chunk.data
            end += chunk.nnz
            vocabulary = chunk.shape[1]
        index = self._empty(vocabulary, int(counts.max()))
        index.build(starts.astype(np.uint32), terms, values, np.arange(len(counts), dtype=np.int64))
        for name in ("terms.npy", "values.npy"):
            (folder / name).unlink()
        index.save(str(folder / "sindi"))
        (folder / "longest").write_text(str(int(counts.max())))

    def open(self, folder: Path, vocabulary: int) -> None:
        self.index = self._empty(vocabulary, int((folder / "longest").read_text()))
        self.index.load(str(folder / "sindi"))
        self.parameters: dict[Any, str] = {}

    def prepare(self, query: sparse.csr_array) -> tuple[Any, ...]:
        return (
            np.array([0, query.nnz], np.uint32),
            query.indices.astype(np.uint32),
            query.data.astype(np.float32),
        )

    def search(self, query: tuple[Any, ...], k: int, setting: tuple[float, float]) -> list[int]:
        parameters = self.parameters.get((k, setting))
        if parameters is None:
            chosen = {"n_candidate": k, "query_prune_ratio": setting[0], "term_prune_ratio": setting[1]}
            parameters = self.parameters[k, setting] = json.dumps({"sindi": chosen})
        ids, _ = self.index.knn_search(*query, k, parameters)
        return list(ids[0].tolist())
