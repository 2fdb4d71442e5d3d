"""Linear layers as products of integers: weights in 7 bits, inputs in 8, sums in int32.

Processors without VNNI multiply bytes in pairs into 16 bits, which saturate: two products of an
unsigned byte (up to 255) and a weight must stay below 2^15, so weights stay within ±63. The sums
are then exact on every processor, and so the same on all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lsr.encoders.int8_kernels import Floats, Sums

# 2 x 255 x 63 = 32,130 < 2^15.
_WEIGHT_LEVELS = 63
Product = Literal["onednn", "int_mm"]
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
        self.outputs, self.inputs = codes.shape
        self._product = _prepared(codes, byte_product() or "int_mm")
        self.steps: Floats = steps.numpy()
        self.bias: Floats = (
            np.zeros(len(codes), np.float32) if bias is None else bias.detach().float().numpy().copy()
        )
        # What inputs count that are all one level higher.
        self.row_sums: Floats = (codes.float().sum(1) * steps).numpy()

    def sums(self, codes: NDArray[np.int8]) -> Sums:
        """Return the integer sums of a product with `codes`, shape (tokens, outputs), int32 or float32.

        As float32 they are exact below 2^24, which 2,096 inputs cannot reach, and rounded once above.
        """
        sums: Sums = self._product(torch.from_numpy(codes)).numpy()
        return sums


def _prepared(codes: torch.Tensor, product: Product) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the product with the rows of `codes`, a function of (tokens, inputs) int8."""
    if product == "int_mm":
        turned = codes.t()
        return lambda inputs: torch._int_mm(inputs, turned)
    operators = torch.ops.onednn
    packed = operators.qlinear_prepack(codes, [512, codes.shape[1]])
    steps, zeros = torch.ones(len(codes)), torch.zeros(len(codes), dtype=torch.int32)

    def multiply(inputs: torch.Tensor) -> torch.Tensor:
        # Unsigned inputs, counted from 128, are what processors multiply by signed weights.
        raised = inputs.view(torch.uint8).bitwise_xor(128)
        found: torch.Tensor = operators.qlinear_pointwise(
            raised, 1.0, 128, packed, steps, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return found

    return multiply


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
def byte_product() -> Product | None:
    """Return the product of bytes to use on this processor: one that is exact, and no slower than float32.

    oneDNN's has vector code for every x86 processor since AVX2. PyTorch's ``_int_mm`` calls it on some and
    loops over single numbers on others, 14 times slower than float32 there. None where neither serves.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(-127, 128, (64, 384), generator=generator, dtype=torch.int8)
    weights = torch.randint(-_WEIGHT_LEVELS, _WEIGHT_LEVELS + 1, (128, 384), generator=generator)
    # The ends of the ranges in use.
    inputs[0], inputs[1] = 127, -127
    weights[0], weights[1] = _WEIGHT_LEVELS, -_WEIGHT_LEVELS
    weights = weights.to(torch.int8)
    expected = inputs.long() @ weights.long().t()
    products: tuple[Product, ...] = ("onednn", "int_mm")
    for product in products:
        try:
            multiply = _prepared(weights, product)
            exact = torch.equal(multiply(inputs).long(), expected)
        except (RuntimeError, AttributeError):
            continue
        if exact and _seconds(lambda: multiply(inputs)) < 2 * _seconds(  # noqa: B023
            lambda: inputs.float() @ weights.float().t()
        ):
            return product
    return None


def _seconds(work: Callable[[], object]) -> float:
    """Return the shortest of five times that `work` takes."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
