"""How what an encoder hands over becomes impacts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Bm25Weighting:
    """BM25's document part, in Lucene's form (Kamphuis et al., ECIR 2020, table 1).

    ``tf / (tf + k1 * (1 - b + b * length / average_length))``, between 0 and 1; the IDF belongs to
    the query side. The average length is that of the corpus the index was created from. It is
    kept in the manifest and changes with nothing but a refresh, so documents stay comparable.
    """

    k1: float
    b: float
    average_length: float

    def impacts(self, frequencies: NDArray[np.float32], lengths: NDArray[Any]) -> NDArray[np.float32]:
        """Return the impact of each posting from its term frequency and its document's length."""
        average = self.average_length or 1.0
        norms = self.k1 * (1 - self.b + self.b * lengths.astype(np.float64) / average)
        values = frequencies.astype(np.float64)
        return (values / (values + norms)).astype(np.float32)

    def as_dict(self) -> dict[str, Any]:
        """Return the form kept in the manifest."""
        return {"kind": "bm25", "k1": self.k1, "b": self.b, "average_length": self.average_length}
