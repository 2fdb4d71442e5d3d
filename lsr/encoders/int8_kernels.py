"""The passes between two integer matrix products, each over one row of a batch at a time.

A product's sums, whole numbers, become float32 (`sums` x the scale of the token's row x the scale of the
output's row of weights), get what stands between two layers of BERT, and become int8 again with a
scale of the row's own. So a token's numbers depend on its text alone, never on its batch.
Single-threaded: the threads of `lsr.encoders.learned` run one batch each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

_F = np.float32
# Inputs are finite (checked where weights are loaded); reordering sums is what lets them be vectors.
_ARITHMETIC = {"contract", "reassoc", "nsz", "nnan", "ninf", "arcp"}
_LEVELS = _F(127)
# Below any activation: keeps a row of zeros from dividing by 0.
_TINY = _F(1e-20)
# The GELU is never below -0.16998, so its outputs are stored as distances from here.
GELU_FLOOR = _F(-0.17)

Floats = NDArray[np.float32]
Bytes = NDArray[np.int8]
# Whole numbers, in whichever type a product leaves them.
Sums = NDArray[np.int32] | NDArray[np.float32]


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _largest(row: Floats) -> Any:
    """Return the largest magnitude in `row`.

    Without their sign, floats order as their bits do, and integers are what compilers take
    maxima of in vectors.
    """
    bits = row.view(np.int32)
    largest = np.int32(0)
    for j in range(bits.size):
        largest = max(largest, bits[j] & np.int32(0x7FFFFFFF))
    single = np.empty(1, np.int32)
    single[0] = largest
    return max(single.view(np.float32)[0], _TINY)


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_ARITHMETIC, inline="always")
def _gelu(x: float) -> Any:
    """Return x times the normal distribution function at x, by a rational erf good to 4e-7."""
    z = x * _F(0.7071067811865476)
    z = z if z < _F(3.925) else _F(3.925)
    z = z if z > _F(-3.925) else _F(-3.925)
    square = z * z
    above = _F(-2.72614225801306e-10)
    above = above * square + _F(2.77068142495902e-08)
    above = above * square + _F(-2.10102402082508e-06)
    above = above * square + _F(-5.69250639462346e-05)
    above = above * square + _F(-7.34990630326855e-04)
    above = above * square + _F(-2.95459980854025e-03)
    above = above * square + _F(-1.60960333262415e-02)
    below = _F(-1.45660718464996e-05)
    below = below * square + _F(-2.13374055278905e-04)
    below = below * square + _F(-1.68282697438203e-03)
    below = below * square + _F(-7.37332916720468e-03)
    below = below * square + _F(-1.42647390514189e-02)
    return _F(0.5) * x * (_F(1) + z * (above / below))


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_ARITHMETIC, inline="always")
def _to_bytes(row: Floats, codes: Bytes) -> Any:
    """Write `row` in 127 steps of its largest magnitude; return the size of a step."""
    largest = _largest(row)
    steps = _LEVELS / largest
    for j in range(row.size):
        codes[j] = np.int8(np.rint(row[j] * steps))
    return largest / _LEVELS


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_ARITHMETIC)
def quantise(values: Floats, damping: Floats, codes: Bytes, scales: Floats, row: Floats) -> None:
    """Write `values` x `damping`, shape (tokens, width), into `codes` and `scales` (tokens,).

    `row` is scratch of `width` numbers.
    """
    tokens, width = values.shape
    for i in range(tokens):
        for j in range(width):
            row[j] = values[i, j] * damping[j]
        scales[i] = _to_bytes(row, codes[i])


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_ARITHMETIC)
def dequantise(sums: Sums, scales: Floats, steps: Floats, bias: Floats, out: Floats) -> None:
    """Write a product's float32 values into `out`, shape (tokens, outputs)."""
    tokens, width = sums.shape
    for i in range(tokens):
        scale = scales[i]
        for j in range(width):
            out[i, j] = _F(sums[i, j]) * (scale * steps[j]) + bias[j]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_ARITHMETIC)
def gelu_quantise(
    sums: Sums,
    scales: Floats,
    steps: Floats,
    bias: Floats,
    damping: Floats,
    apart: NDArray[np.int64],
    exact: Floats,
    codes: Bytes,
    out_scales: Floats,
    row: Floats,
) -> None:
    """Write the GELU of a product into `codes` and `out_scales`, that of the columns `apart` into `exact`.

    A code c stands for ((c + 127) x scale) / damping + `GELU_FLOOR`: 255 levels from the floor up.
    The columns `apart`, shape (few,), go as float32 into `exact`, shape (tokens, few), and have the
    lowest code.
    """
    tokens, width = sums.shape
    for i in range(tokens):
        scale = scales[i]
        for j in range(width):
            row[j] = _gelu(_F(sums[i, j]) * (scale * steps[j]) + bias[j]) - GELU_FLOOR
        for j in range(apart.size):
            exact[i, j] = row[apart[j]] + GELU_FLOOR
            row[apart[j]] = 0
        for j in range(width):
            row[j] *= damping[j]
        largest = _largest(row)
        levels = _F(254) / largest
        for j in range(width):
            codes[i, j] = np.int8(np.rint(row[j] * levels) - _LEVELS)
        out_scales[i] = largest / _F(254)


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_ARITHMETIC)
def add_norm_quantise(
    sums: Sums,
    scales: Floats,
    steps: Floats,
    bias: Floats,
    lifts: Floats,
    residual: Floats,
    gain: Floats,
    shift: Floats,
    epsilon: float,
    damping: Floats,
    out: Floats,
    codes: Bytes,
    out_scales: Floats,
    row: Floats,
) -> None:
    """Add a product to `residual`, normalise each row, and write it as it is and as bytes.

    `lifts` (outputs,) is added once for each step of a row's scale: 127 x the sum of an output's weights
    where the product's codes came from `gelu_quantise`, else 0. `out` (tokens, width)
    is the layer norm; `codes` and `out_scales` are ``out x damping``.
    """
    tokens, width = sums.shape
    for i in range(tokens):
        scale = scales[i]
        mean = _F(0)
        for j in range(width):
            value = _F(sums[i, j]) * (scale * steps[j]) + bias[j] + scale * lifts[j] + residual[i, j]
            row[j] = value
            mean += value
        mean /= _F(width)
        variance = _F(0)
        for j in range(width):
            distance = row[j] - mean
            variance += distance * distance
        sharpness = _F(1) / np.sqrt(variance / _F(width) + _F(epsilon))
        for j in range(width):
            value = (row[j] - mean) * sharpness * gain[j] + shift[j]
            out[i, j] = value
            row[j] = value * damping[j]
        out_scales[i] = _to_bytes(row[:width], codes[i])


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_ARITHMETIC)
def maxima(sums: Sums, scales: Floats, starts: NDArray[np.int64], best: Floats) -> None:
    """Write each text's largest ``sums x scale`` of every output into `best`, shape (texts, outputs).

    Text t holds the tokens from ``starts[t]`` to ``starts[t + 1]``.
    """
    width = sums.shape[1]
    for text in range(starts.size - 1):
        first = starts[text]
        for j in range(width):
            best[text, j] = _F(sums[first, j]) * scales[first]
        for i in range(first + 1, starts[text + 1]):
            scale = scales[i]
            for j in range(width):
                value = _F(sums[i, j]) * scale
                best[text, j] = value if value > best[text, j] else best[text, j]
