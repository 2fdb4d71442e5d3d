"""The terms that documents' own texts hold, kept beside postings where an encoder expands documents.

A corpus IDF counts in how many texts a term stands, and expansion hides that from the postings. With
the terms of each document kept, the count can follow deletions without the texts and the tokenizer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.index.files import ArrayWriter, map_array, write_array

TERMS = "text_terms.npy"
STARTS = "text_term_starts.npy"


class TextTerms:
    """The distinct own terms of each document of a segment; document i's lie at ``starts[i]:starts[i + 1]``."""

    def __init__(self, starts: NDArray[np.int64], terms: NDArray[np.uint32]) -> None:
        self._starts = starts
        self._terms = terms

    @classmethod
    def open(cls, folder: Path) -> TextTerms | None:
        """Map those of a segment; None where it has none."""
        if not (folder / TERMS).exists():
            return None
        starts = map_array(folder / STARTS, np.dtype(np.int64))
        return cls(starts, map_array(folder / TERMS, np.dtype(np.uint32)))

    @property
    def document_count(self) -> int:
        """Documents of the segment."""
        return len(self._starts) - 1

    def rows(self, documents: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """Return how many terms each of some documents has, and the terms one document after the other."""
        starts, stops = self._starts[documents], self._starts[documents + 1]
        counts = stops - starts
        places = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(int(counts.sum()))
        return counts, self._terms[places]

    def frequencies(self, documents: NDArray[np.int64], width: int) -> NDArray[np.int64]:
        """Return how many of some documents hold each term, shape (width,)."""
        return np.bincount(self.rows(documents)[1], minlength=width)[:width].astype(np.int64)


class TextTermsWriter:
    """Writes the own terms of documents as they come; memory grows by four bytes a document."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer = ArrayWriter(folder / TERMS, np.dtype(np.uint32))
        self._counts: list[NDArray[np.uint32]] = []
        self._frequencies = np.zeros(0, np.int64)

    def add(self, terms: sparse.csr_array) -> None:
        """Append documents; what is stored in their row, whatever its value, is a term of theirs."""
        self.add_rows(np.diff(terms.indptr), terms.indices)

    def add_rows(self, counts: NDArray[Any], terms: NDArray[Any]) -> None:
        """Append documents as `TextTerms.rows` returns them."""
        self._counts.append(counts.astype(np.uint32))
        self._writer.write(terms)
        found = np.bincount(terms, minlength=len(self._frequencies)).astype(np.int64)
        found[: len(self._frequencies)] += self._frequencies
        self._frequencies = found

    def finish(self) -> NDArray[np.int64]:
        """Finish the files and return how many documents hold each term."""
        self._writer.close()
        counts = np.concatenate([np.zeros(1, np.int64), *self._counts]).astype(np.int64)
        write_array(self._folder / STARTS, np.cumsum(counts))
        return self._frequencies

    def abort(self) -> None:
        """Close the files, finished or not."""
        self._writer.abort()
