"""Triton kernels of the sparse head; importing this module imports Triton.

Each docstring gives the formula; `lsr.composition.sparse_head.triton_head` launches them.
"""

# Triton's decorator is untyped, and its language reads annotations as its own.
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def larger_or_nan(a, b):  # type: ignore[no-untyped-def]
    """The maximum of two numbers; not a number where either is not."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def maximum_kernel(  # type: ignore[no-untyped-def]
    states,  # (tokens, H)
    weight,  # (V, H)
    bias,  # (V,)
    starts,  # (N,) int64
    lengths,  # (N,) int64
    values,  # out: (N, V) float32
    position,  # out: (N, V) integers
    N,
    V,
    H: tl.constexpr,
    BV: tl.constexpr,
    BT: tl.constexpr,
    BK: tl.constexpr,
    GROUP: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    KEEP_POSITION: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """values[n, v] = max over tokens t of text n of states[t] . weight[v], plus bias[v].

    One program makes BV terms of one text: vocabulary times tokens, so that the maximum runs along
    the dimension that a matrix unit's accumulator keeps within four threads. Programs of the same
    terms stand together, GROUP texts at a time, and share the weights in the cache.
    """
    pid = tl.program_id(0)
    tiles = tl.cdiv(V, BV)
    first = pid // (tiles * GROUP) * GROUP
    width = tl.minimum(N - first, GROUP)
    within = pid % (tiles * GROUP)
    text = first + within % width
    term = within // width * BV
    start = tl.load(starts + text)
    length = tl.load(lengths + text).to(tl.int32)
    v = term + tl.arange(0, BV)
    inside = v < V
    k = tl.arange(0, BK)
    best = tl.full((BV,), float("-inf"), tl.float32)
    place = tl.zeros((BV,), tl.int32)
    for t0 in range(0, length, BT):
        t = tl.arange(0, BT)
        product = tl.zeros((BV, BT), tl.float32)
        # Behind the end the last token is read again: it changes no maximum and no first winner.
        token = start + tl.minimum(t0 + t, length - 1)
        w_at = weight + tl.where(inside, v, 0).to(tl.int64)[:, None] * H + k[None, :]
        s_at = states + token[:, None] * H + k[None, :]
        for k0 in range(0, H, BK):
            if H % BK == 0:
                w = tl.load(w_at)
                s = tl.load(s_at)
            else:
                w = tl.load(w_at, mask=k[None, :] < H - k0, other=0.0)
                s = tl.load(s_at, mask=k[None, :] < H - k0, other=0.0)
            product = tl.dot(w, tl.trans(s), product, input_precision=PRECISION)
            w_at += BK
            s_at += BK
        highest = tl.reduce(product, 1, larger_or_nan)
        if KEEP_POSITION:
            here = tl.min(tl.where(product == highest[:, None], t[None, :], BT), 1)
            place = tl.where(highest > best, t0 + here, place)
        best = larger_or_nan(best, highest)
    if HAS_BIAS:
        best += tl.load(bias + v, mask=inside, other=0.0).to(tl.float32)
    at = text.to(tl.int64) * V + v
    tl.store(values + at, best, mask=inside)
    if KEEP_POSITION:
        tl.store(position + at, place.to(position.dtype.element_ty), mask=inside)


@triton.jit
def logit_gradient_kernel(  # type: ignore[no-untyped-def]
    gradient,  # (numbers,) float32
    values,  # (numbers,) float32
    out,  # out: (numbers,) float32
    numbers,
    ACTIVATION: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """out = gradient x slope of the activation, from its value (`activation.slope_at_value`)."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    y = tl.load(values + i, mask=i < numbers, other=0.0)
    g = tl.load(gradient + i, mask=i < numbers, other=0.0)
    if ACTIVATION == "log1p":
        g *= tl.exp(-y)
    if ACTIVATION == "double-log1p":
        g *= tl.exp(1.0 - y - tl.exp(y))
    tl.store(out + i, tl.where(y > 0, g, y * 0.0), mask=i < numbers)


@triton.jit
def weight_gradient_kernel(  # type: ignore[no-untyped-def]
    gradient,  # (N, V) float32, at the logits
    position,  # (N, V) integers
    starts,  # (N,) int64
    states,  # (tokens, H)
    of_weight,  # out: (V, H)
    of_bias,  # out: (V,) float32
    N,
    V,
    H: tl.constexpr,
    BV: tl.constexpr,
    BH: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """of_weight[v] = sum over texts n of gradient[n, v] states[winner(n, v)]; texts in order.

    Rows of states are read only for pairs whose gradient is not 0.
    """
    v = tl.program_id(0) * BV + tl.arange(0, BV)
    h = tl.program_id(1) * BH + tl.arange(0, BH)
    inside = v < V
    total = tl.zeros((BV, BH), tl.float32)
    total_bias = tl.zeros((BV,), tl.float32)
    for n0 in range(0, N, UNROLL):
        for step in tl.static_range(UNROLL):
            n = n0 + step
            at = n.to(tl.int64) * V + v
            there = inside & (n < N)
            g = tl.load(gradient + at, mask=there, other=0.0)
            p = tl.load(position + at, mask=there, other=0).to(tl.int64)
            token = p + tl.load(starts + n, mask=n < N, other=0)
            x = tl.load(
                states + token[:, None] * H + h[None, :],
                mask=(g != 0.0)[:, None] & (h < H)[None, :],
                other=0.0,
            )
            total += g[:, None] * x.to(tl.float32)
            total_bias += g
    kept = inside[:, None] & (h < H)[None, :]
    at = v.to(tl.int64)[:, None] * H + h[None, :]
    tl.store(of_weight + at, total.to(of_weight.dtype.element_ty), mask=kept)
    if tl.program_id(1) == 0:
        tl.store(of_bias + v, total_bias, mask=inside)


@triton.jit
def states_gradient_kernel(  # type: ignore[no-untyped-def]
    gradient,  # (N, V) float32, at the logits
    position,  # (N, V) integers
    weight,  # (V, H)
    tile_text,  # (tiles,) int32: the text of each tile of tokens
    tile_place,  # (tiles,) int32: the tile's first place in it
    starts,  # (N,) int64
    lengths,  # (N,) int64
    of_states,  # out: (tokens, H); float32 zeros where SPLIT is 2
    V,
    part,  # terms a program sums over
    H: tl.constexpr,
    BT: tl.constexpr,
    BV: tl.constexpr,
    BH: tl.constexpr,
    SPLIT: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """of_states[t] = sum over the terms v that t wins of gradient[n, v] weight[v].

    A product with a matrix (tokens, terms) that holds the gradient at each term's winner and 0
    elsewhere, made in registers a block at a time. For gradients without zeros: a sparse one is
    cheaper to gather. With SPLIT = 2 two programs add to each number, in either order the same sum.
    """
    tile = tl.program_id(0)
    h = tl.program_id(1) * BH + tl.arange(0, BH)
    text = tl.load(tile_text + tile)
    place = tl.load(tile_place + tile)
    t = place + tl.arange(0, BT)
    row = text.to(tl.int64) * V
    total = tl.zeros((BT, BH), tl.float32)
    begin = tl.program_id(2) * part
    end = tl.minimum(begin + part, V)
    for v0 in range(begin, end, BV):
        v = v0 + tl.arange(0, BV)
        g = tl.load(gradient + row + v, mask=v < end, other=0.0)
        p = tl.load(position + row + v, mask=v < end, other=0).to(tl.int32)
        won = tl.where(p[None, :] == t[:, None], g[None, :], 0.0).to(weight.dtype.element_ty)
        w = tl.load(
            weight + v.to(tl.int64)[:, None] * H + h[None, :],
            mask=(v < end)[:, None] & (h < H)[None, :],
            other=0.0,
        )
        total = tl.dot(won, w, total, input_precision=PRECISION)
    token = tl.load(starts + text) + t
    at = of_states + token[:, None] * H + h[None, :]
    kept = (t < tl.load(lengths + text))[:, None] & (h < H)[None, :]
    if SPLIT == 1:
        tl.store(at, total.to(of_states.dtype.element_ty), mask=kept)
    else:
        tl.atomic_add(at, total, mask=kept)
