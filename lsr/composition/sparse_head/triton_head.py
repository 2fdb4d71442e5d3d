"""The sparse head on a GPU: product and maximum in one kernel, gradients from winners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from lsr.composition.sparse_head.activation import HeadActivation, activate_
from lsr.composition.sparse_head.layout import PackedTexts
from lsr.composition.sparse_head.triton_kernel import (
    logit_gradient_kernel,
    maximum_kernel,
    states_gradient_kernel,
    weight_gradient_kernel,
)
from lsr.composition.sparse_head.winners import Winners, states_gradient_by_bags

# The states' gradient is a matrix product where more than this part of all (text, term) pairs is
# active, else a gather.
DENSE_SHARE = 1 / 4
# Texts whose programs share one pass over the weights.
_GROUP = 32


@dataclass(frozen=True)
class Tile:
    """Block sizes of the forward kernel: terms, tokens, width; warps and pipeline stages."""

    terms: int
    tokens: int
    width: int
    warps: int
    stages: int


# Measured on an H100 (scripts/measure_sparse_head.py).
TILES = (
    Tile(128, 256, 64, 8, 4),
    Tile(256, 128, 64, 8, 3),
    Tile(256, 64, 64, 8, 3),
    Tile(256, 32, 64, 8, 4),
)
# Rate of each of TILES on texts that fill it, relative to the first.
_RATES = (1.0, 0.96, 0.71, 0.45)


def triton_head(
    states: torch.Tensor,
    texts: PackedTexts,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    activation: HeadActivation,
) -> torch.Tensor:
    """Return the activated maximum over tokens, shape (texts, vocabulary), float32."""
    values: torch.Tensor = _TritonMaximum.apply(states, weight, bias, texts, activation)  # type: ignore[no-untyped-call]
    return values


def choose_tile(texts: PackedTexts) -> Tile:
    """Return the tile that wastes least on these lengths."""

    def cost(index: int) -> float:
        tokens = TILES[index].tokens
        return sum(-(-length // tokens) * tokens for length in texts.lengths) / _RATES[index]

    return TILES[min(range(len(TILES)), key=cost)]


def pooled_logits(
    states: torch.Tensor,
    texts: PackedTexts,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    keep_position: bool,
    tile: Tile | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return (maximum of the logits over tokens, the first winner's place in its text or None)."""
    device = states.device
    count, (vocabulary, width) = len(texts.lengths), weight.shape
    values = torch.empty((count, vocabulary), dtype=torch.float32, device=device)
    position = torch.empty_like(values, dtype=texts.position_dtype) if keep_position else None
    tile = tile or choose_tile(texts)
    if states.dtype == torch.float32:
        tile = Tile(64, min(64, tile.tokens), 32, 4, 2)
    tiles = -(-vocabulary // tile.terms)
    maximum_kernel[(tiles * count,)](
        states,
        weight,
        weight if bias is None else bias,
        texts.starts_on(device),
        texts.lengths_on(device),
        values,
        values if position is None else position,
        count,
        vocabulary,
        H=width,
        BV=tile.terms,
        BT=tile.tokens,
        BK=tile.width,
        GROUP=_GROUP,
        HAS_BIAS=bias is not None,
        KEEP_POSITION=keep_position,
        PRECISION="ieee",
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return values, position


class _TritonMaximum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        texts: PackedTexts,
        activation: HeadActivation,
    ) -> torch.Tensor:
        states, weight = states.contiguous(), weight.contiguous()
        wanted = any(ctx.needs_input_grad[:3])
        values, position = pooled_logits(states, texts, weight, bias, keep_position=wanted)
        activate_(values, activation)
        ctx.texts, ctx.activation = texts, activation
        ctx.bias_dtype = None if bias is None else bias.dtype
        if wanted:
            ctx.save_for_backward(states, weight, values, position)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        states, weight, values, position = ctx.saved_tensors
        texts: PackedTexts = ctx.texts
        gradient = gradients[0].contiguous()
        at_logits = logit_gradient(gradient, values, ctx.activation)
        of_states = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            if int(torch.count_nonzero(at_logits)) > DENSE_SHARE * values.numel():
                of_states = states_gradient(at_logits, position, texts, weight).to(states.dtype)
            else:
                winners = Winners(at_logits, None, position, texts.starts_on(states.device), ctx.activation)
                of_states = states_gradient_by_bags(winners, texts, weight)
        if any(ctx.needs_input_grad[1:3]):
            of_weight, of_bias = weight_gradient(at_logits, position, texts, states, weight.dtype)
            of_bias = None if ctx.bias_dtype is None else of_bias.to(ctx.bias_dtype)
        return of_states, of_weight, of_bias, None, None


def logit_gradient(gradient: torch.Tensor, values: torch.Tensor, activation: HeadActivation) -> torch.Tensor:
    """Return the gradient at the logits, same shape, float32."""
    out = torch.empty_like(values)
    block = 1024
    logit_gradient_kernel[(max(1, -(-values.numel() // block)),)](
        gradient.float(), values, out, values.numel(), ACTIVATION=activation, BLOCK=block
    )
    return out


def weight_gradient(
    at_logits: torch.Tensor,
    position: torch.Tensor,
    texts: PackedTexts,
    states: torch.Tensor,
    dtype: torch.dtype,
    *,
    terms: int = 16,
    block: int = 128,
    unroll: int = 4,
    warps: int = 4,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (d weight, `dtype`, (vocabulary, width); d bias, float32, (vocabulary,))."""
    count, vocabulary = at_logits.shape
    width = states.shape[1]
    of_weight = torch.empty((vocabulary, width), dtype=dtype, device=states.device)
    of_bias = torch.empty(vocabulary, dtype=torch.float32, device=states.device)
    weight_gradient_kernel[(-(-vocabulary // terms), -(-width // block))](
        at_logits,
        position,
        texts.starts_on(states.device),
        states,
        of_weight,
        of_bias,
        count,
        vocabulary,
        H=width,
        BV=terms,
        BH=block,
        UNROLL=unroll,
        num_warps=warps,
    )
    return of_weight, of_bias


def states_gradient(
    at_logits: torch.Tensor,
    position: torch.Tensor,
    texts: PackedTexts,
    weight: torch.Tensor,
    *,
    tokens: int = 128,
    terms: int = 64,
    block: int = 128,
    warps: int = 4,
    stages: int = 3,
) -> torch.Tensor:
    """Return d states, shape (tokens, width), by a product over all terms.

    In float32 where two programs share a number, else in the dtype of `weight`.
    """
    device = weight.device
    vocabulary, width = weight.shape
    if weight.dtype == torch.float32:
        tokens, terms, block, warps, stages = 64, 32, 64, 4, 2
    tiles = [(i, place) for i, length in enumerate(texts.lengths) for place in range(0, length, tokens)]
    blocks = -(-width // block)
    split = 2 if len(tiles) * blocks < 1024 else 1
    shape = (sum(texts.lengths), width)
    if split == 1:
        of_states = torch.empty(shape, dtype=weight.dtype, device=device)
    else:
        of_states = torch.zeros(shape, dtype=torch.float32, device=device)
    states_gradient_kernel[(len(tiles), blocks, split)](
        at_logits,
        position,
        weight,
        _int32([text for text, _ in tiles], device),
        _int32([place for _, place in tiles], device),
        texts.starts_on(device),
        texts.lengths_on(device),
        of_states,
        vocabulary,
        -(-vocabulary // split),
        H=width,
        BT=tokens,
        BV=terms,
        BH=block,
        SPLIT=split,
        PRECISION="ieee",
        num_warps=warps,
        num_stages=stages,
    )
    return of_states


def _int32(values: Any, device: torch.device) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32, device=device)
