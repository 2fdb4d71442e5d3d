"""Linear layers as products of integers: weights in 7 bits, inputs in 8, sums in int32.

Processors without VNNI multiply bytes in pairs into 16 bits, which saturate: two products of an
unsigned byte (up to 255) and a weight must stay below 2^15, so weights stay within ±63. The sums
are then exact on every processor, and so the same on all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from lsr.encoders.int8_kernels import Floats, Sums

# 2 x 255 x 63 = 32,130 < 2^15.
_WEIGHT_LEVELS = 63
# Shares of a row's largest magnitude that are tried as the end of its scale.
_ENDS = (1.0, 0.9, 0.8)


class Int8Linear:
    """Rows of weights as 7-bit integers, each with the size of its step.

    `damping` (inputs,) is what inputs were multiplied by before they became integers: the weights
    are divided by it. Activations of BERT have a few columns far larger than the others, which
    would take all the levels; both sides share the burden (SmoothQuant, arXiv 2211.10438).
    `fitted` looks for the best end of each row's scale, which takes a few times as long.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        damping: Floats | None = None,
        *,
        fitted: bool = True,
    ) -> None:
        weight = weight.detach().float()
        if damping is not None:
            weight = weight / torch.from_numpy(damping)
        codes, steps = quantised_rows(weight, _WEIGHT_LEVELS, _ENDS if fitted else (1.0,))
        self._codes = codes.t()
        self.steps: Floats = steps.numpy()
        self.bias: Floats = (
            np.zeros(len(codes), np.float32) if bias is None else bias.detach().float().numpy().copy()
        )
        # What inputs count that are all one level higher.
        self.row_sums: Floats = (codes.float().sum(1) * steps).numpy()

    @property
    def inputs(self) -> int:
        """The number of inputs."""
        return int(self._codes.shape[0])

    @property
    def outputs(self) -> int:
        """The number of outputs."""
        return int(self._codes.shape[1])

    def sums(self, codes: NDArray[np.int8]) -> Sums:
        """Return the integer sums of a product with `codes`, shape (tokens, outputs)."""
        sums: Sums = torch._int_mm(torch.from_numpy(codes), self._codes).numpy()
        return sums


def quantised_rows(
    weight: torch.Tensor, levels: int, ends: Sequence[float] = _ENDS
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int8 codes within ±`levels`, shape of `weight`, and each row's step, float32.

    A row's scale ends where, of `ends` (shares of its largest magnitude), it leaves the least squared
    error.
    """
    largest = weight.abs().amax(1).clamp_min(1e-12)
    steps = largest * (ends[0] / levels)
    best = torch.full_like(largest, torch.inf)
    for end in ends if len(ends) > 1 else ():
        tried = largest * (end / levels)
        codes = torch.round(weight / tried[:, None]).clamp_(-levels, levels)
        error = (codes * tried[:, None] - weight).square().sum(1)
        steps = torch.where(error < best, tried, steps)
        best = torch.minimum(error, best)
    codes = torch.round(weight / steps[:, None]).clamp_(-levels, levels)
    return codes.to(torch.int8), steps


@cache
def sums_are_exact() -> bool:
    """Return whether this processor's product of bytes is exact at the ends of the ranges in use."""
    if not hasattr(torch, "_int_mm"):
        return False
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(-127, 128, (40, 384), generator=generator, dtype=torch.int8)
    weights = torch.randint(-_WEIGHT_LEVELS, _WEIGHT_LEVELS + 1, (64, 384), generator=generator)
    inputs[0], inputs[1] = 127, -127
    weights[0], weights[1] = _WEIGHT_LEVELS, -_WEIGHT_LEVELS
    try:
        found = torch._int_mm(inputs, weights.to(torch.int8).t())
    except RuntimeError:
        return False
    return torch.equal(found.long(), inputs.long() @ weights.t())
