"""What a teacher is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Teacher(Protocol):
    """Rates documents for queries."""

    def score(
        self, queries: Sequence[str], documents: Sequence[str], wanted: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Return scores, shape (queries, documents).

        `wanted`, of the same shape, says which are needed; a teacher may leave NaN elsewhere.
        """
