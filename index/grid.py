"""The grid of impact values: float weights in, small integer codes out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

ImpactBits = Literal[8, 16]


@dataclass(frozen=True)
class ImpactGrid:
    """A linear grid: code c stands for float32(c) * float32(maximum / (2**bits - 1)).

    It is fixed when an index is created and the same for all its segments, so that a score never
    depends on how documents were spread over segments. Code 0 is never stored: a weight above 0
    gets at least code 1, a weight above `maximum` the highest code (it saturates). Any other
    weight is off by at most half a step (and float32 rounding), except those under half a step, which are off by less
    than one.
    """

    bits: ImpactBits
    maximum: float

    def __post_init__(self) -> None:
        if self.bits not in (8, 16):
            raise ValueError(f"impact bits are 8 or 16, not {self.bits}")
        if not (np.isfinite(self.maximum) and np.float32(self.maximum) / self.levels > 0):
            raise ValueError(f"the largest impact must be finite and above 0, not {self.maximum}")

    @property
    def levels(self) -> int:
        """The highest code."""
        return (1 << self.bits) - 1

    @cached_property
    def step(self) -> np.float32:
        """The value of code 1."""
        return np.float32(np.float64(self.maximum) / self.levels)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The type that codes are stored in."""
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)

    def encode(self, weights: NDArray[np.float32]) -> NDArray[np.unsignedinteger[Any]]:
        """Return the nearest code of each weight (weights are finite and above 0), same shape."""
        codes = np.rint(weights.astype(np.float64) / np.float64(self.step))
        return np.clip(codes, 1, self.levels).astype(self.dtype)

    def decode(self, codes: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.float32]:
        """Return the value of each code, float32, same shape."""
        return codes.astype(np.float32) * self.step

    def saturated(self, weights: NDArray[np.float32]) -> int:
        """Count the weights above the grid."""
        return int(np.count_nonzero(weights > np.float64(self.maximum) * (1 + 1e-6)))

    def as_dict(self) -> dict[str, Any]:
        """Return the form kept in the manifest."""
        return {"bits": self.bits, "maximum": self.maximum}
