"""A kernel of building: copying sorted pieces into place."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray


@nb.njit(nogil=True, cache=True)
def _scatter(
    terms: Any, starts: Any, piece_documents: Any, piece_values: Any, places: Any, documents: Any, values: Any
) -> None:
    for i in range(len(terms)):
        place = places[terms[i]]
        for p in range(starts[i], starts[i + 1]):
            documents[place] = piece_documents[p]
            values[place] = piece_values[p]
            place += 1
        places[terms[i]] = place


def scatter_piece(
    terms: NDArray[np.int64],
    starts: NDArray[np.int64],
    piece_documents: NDArray[np.uint32],
    piece_values: NDArray[np.float32],
    places: NDArray[np.int64],
    documents: NDArray[np.uint32],
    values: NDArray[np.float32],
) -> None:
    """Copy one piece's postings behind those already in `documents` and `values`.

    `places[t]` is where the next posting of term t goes, and is moved on.
    """
    _scatter(terms, starts, piece_documents, piece_values, places, documents, values)
