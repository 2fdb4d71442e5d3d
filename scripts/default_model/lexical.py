"""The BM25 teacher: weights of stemmed words, scored for a batch through a small dense table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from .inputs import Ragged

K1, B = 1.2, 0.75
_WIDEST = 160


class StemTable:
    """Documents or queries as rows of (stem id, weight), padded; id -1 where a row ends."""

    def __init__(self, terms: Ragged, weights: np.ndarray, device: torch.device, width: int) -> None:
        rows = len(terms)
        lengths = np.minimum(np.diff(terms.starts), width)
        place = np.arange(width)
        exists = place < lengths[:, None]
        at = np.minimum(terms.starts[:-1, None] + place, max(0, len(terms.values) - 1))
        self.ids = torch.from_numpy(np.where(exists, terms.values[at], -1).astype(np.int32)).to(device)
        self.weights = torch.from_numpy(np.where(exists, weights[at], 0).astype(np.float16)).to(device)
        assert self.ids.shape == (rows, width)


class Lexical:
    """BM25 over stems of one set of documents and one of queries (statistics of those documents)."""

    def __init__(self, folder: Path, name: str, stem_count: int, device: torch.device) -> None:
        terms = Ragged.load(folder, f"{name}.documents.stems")
        counts = np.load(folder / f"{name}.documents.stem_counts.values.npy").astype(np.float32)
        lengths = np.load(folder / f"{name}.documents.lengths.npy")
        frequency = np.bincount(terms.values, minlength=stem_count).astype(np.float64)
        idf = np.log1p((len(terms) - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
        norm = K1 * (1 - B + B * lengths / max(lengths.mean(), 1e-6))
        weights = counts / (counts + np.repeat(norm, np.diff(terms.starts)))
        self.documents = StemTable(terms, weights * idf[terms.values], device, _WIDEST)
        asked = Ragged.load(folder, f"{name}.queries.stems")
        self.queries = StemTable(asked, np.ones(len(asked.values), np.float32), device, 32)
        self._columns = torch.full((stem_count + 1,), -1, dtype=torch.int64, device=device)

    def scores(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        """Return BM25 scores, float32, shape (queries, documents)."""
        asked, weights = self.queries.ids[queries].long(), self.queries.weights[queries].float()
        unique = torch.unique(asked)
        unique = unique[unique >= 0]
        self._columns[unique] = torch.arange(len(unique), device=unique.device)
        width = len(unique) + 1  # one more column takes what is not asked for
        tables = []
        for ids, values in (
            (asked, weights),
            (self.documents.ids[documents].long(), self.documents.weights[documents].float()),
        ):
            columns = torch.where(ids >= 0, self._columns[ids.clamp(min=0)], -1)
            columns = torch.where(columns >= 0, columns, width - 1)
            table = torch.zeros((len(ids), width), device=ids.device)
            table.scatter_add_(1, columns, values)
            tables.append(table[:, : width - 1])
        self._columns[unique] = -1
        return tables[0] @ tables[1].T
