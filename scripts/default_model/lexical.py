"""Stemmed words of documents and queries on the device: BM25 as a teacher, and the student's own words.

Statistics come as tables of IDFs, one row a set of documents; a query picks its row. Documents hold
saturated term frequencies alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from .inputs import Ragged

K1, B = 1.2, 0.75
# Words of an average document to the student, whose vectors must not depend on other documents.
LENGTH = 100
_WIDEST = 160
_LONGEST_QUERY = 64


class StemTable(NamedTuple):
    """Rows of stem ids, -1 where a row ends, int32, and their weights, float16, both (rows, width)."""

    ids: torch.Tensor
    weights: torch.Tensor

    @classmethod
    def of(cls, terms: Ragged, weights: np.ndarray, device: torch.device, width: int) -> StemTable:
        lengths = np.minimum(np.diff(terms.starts), width)
        place = np.arange(width)
        exists = place < lengths[:, None]
        at = np.minimum(terms.starts[:-1, None] + place, max(0, len(terms.values) - 1))
        return cls(
            torch.from_numpy(np.where(exists, terms.values[at], -1).astype(np.int32)).to(device),
            torch.from_numpy(np.where(exists, weights[at], 0).astype(np.float16)).to(device),
        )


class Words:
    """The stems of one set of documents and one of queries.

    `fixed` documents are weighed by the student's own length normalisation, `documents` by that of
    their collection. `term_of_stem` (stems,) is the piece that stands for a stem, or -1.
    """

    def __init__(self, folder: Path, name: str, device: torch.device) -> None:
        terms = Ragged.load(folder, f"{name}.documents.stems")
        counts = np.load(folder / f"{name}.documents.stem_counts.values.npy").astype(np.float32)
        lengths = np.load(folder / f"{name}.documents.lengths.npy")
        each = np.diff(terms.starts)
        found = []
        for average in (float(lengths.mean()), LENGTH):
            norm = K1 * (1 - B + B * lengths / max(average, 1e-6))
            weights = counts / (counts + np.repeat(norm, each))
            found.append(StemTable.of(terms, weights, device, _WIDEST))
        self.documents, self.fixed = found
        asked = Ragged.load(folder, f"{name}.queries.stems")
        self.queries = StemTable.of(asked, np.ones(len(asked.values), np.float32), device, _LONGEST_QUERY)
        self.term_of_stem = torch.from_numpy(np.load(folder / "term_of_stem.npy")).to(device).long()
        self.frequency = np.bincount(terms.values, minlength=len(self.term_of_stem))
        self.terms, self.count = terms, len(terms)
        self._columns = torch.full((len(self.term_of_stem),), -1, dtype=torch.int64, device=device)

    def idf(self) -> torch.Tensor:
        """Return ln(1 + (N - df + .5) / (df + .5)) over the documents, shape (1, stems)."""
        return idf_of(self.frequency, self.count, self._columns.device)[None]

    def scores(
        self,
        queries: torch.Tensor,
        documents: torch.Tensor,
        tables: torch.Tensor,
        table_of: torch.Tensor,
        *,
        fixed: bool = False,
        without_pieces: bool = False,
    ) -> torch.Tensor:
        """Return sums of IDF x saturated term frequency, float32, shape (queries, documents).

        `tables` (rows, stems) are IDFs and `table_of` (queries,) the row of each query.
        `without_pieces` leaves out stems that a piece stands for.
        """
        asked, here = self.queries.ids[queries].long(), self.queries.weights[queries].float()
        here = here * tables[table_of.unsqueeze(1), asked.clamp(min=0)]
        if without_pieces:
            asked = torch.where(self.term_of_stem[asked.clamp(min=0)] < 0, asked, -1)
        unique = torch.unique(asked)
        unique = unique[unique >= 0]
        self._columns[unique] = torch.arange(len(unique), device=unique.device)
        width = len(unique) + 1  # one more column takes what is not asked for
        chosen = self.fixed if fixed else self.documents
        both = []
        for ids, values in (
            (asked, here),
            (chosen.ids[documents].long(), chosen.weights[documents].float()),
        ):
            columns = torch.where(ids >= 0, self._columns[ids.clamp(min=0)], -1)
            columns = torch.where(columns >= 0, columns, width - 1)
            table = torch.zeros((len(ids), width), device=ids.device)
            table.scatter_add_(1, columns, values)
            both.append(table[:, : width - 1])
        self._columns[unique] = -1
        return both[0] @ both[1].T

    def own_terms(self, documents: torch.Tensor, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the documents' words that pieces stand for, and how many others they have.

        The first, shape (documents, vocabulary), float32, holds the student's saturated term frequencies.
        """
        ids = self.fixed.ids[documents].long()
        terms = torch.where(ids >= 0, self.term_of_stem[ids.clamp(min=0)], -1)
        values = self.fixed.weights[documents].float().masked_fill(terms < 0, 0)
        own = torch.zeros((len(documents), vocabulary), device=ids.device)
        own.scatter_add_(1, terms.clamp(min=0), values)
        return own, ((ids >= 0) & (terms < 0)).sum(1)

    def asked_terms(self, queries: torch.Tensor) -> torch.Tensor:
        """Return the pieces that stand for the words of queries, -1 for none, shape (queries, width)."""
        ids = self.queries.ids[queries].long()
        return torch.where(ids >= 0, self.term_of_stem[ids.clamp(min=0)], -1)


def idf_of(frequency: np.ndarray, count: int, device: torch.device) -> torch.Tensor:
    """Return ln(1 + (N - df + .5) / (df + .5)), float32."""
    df = frequency.astype(np.float64)
    return torch.from_numpy(np.log1p((count - df + 0.5) / (df + 0.5)).astype(np.float32)).to(device)
