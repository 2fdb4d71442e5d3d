"""The sparse head, behind one function: which implementation runs, and in which precision."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Literal

import torch

from lsr.composition.sparse_head.activation import HeadActivation, HeadPooling
from lsr.composition.sparse_head.chunked import chunked_head
from lsr.composition.sparse_head.layout import PackedTexts
from lsr.composition.sparse_head.reference import naive_head

Implementation = Literal["auto", "naive", "chunked", "triton"]
_HALF = (torch.bfloat16, torch.float16)


def sparse_head(
    states: torch.Tensor,
    lengths: Sequence[int] | torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    pooling: HeadPooling = "max",
    activation: HeadActivation = "log1p",
    implementation: Implementation = "auto",
    logits_budget: int | None = None,
) -> torch.Tensor:
    """Return term weights, shape (texts, vocabulary), float32 (float64 for float64 states).

    `states` (tokens, width) holds, text after text and without padding, the `lengths` tokens of
    each, at least one; `weight` (vocabulary, width) and `bias` (vocabulary,) project them to
    logits. Gradients reach `states`, `weight` and `bias`; among tokens that tie at the maximum
    the first receives it. Gradients of gradients are not offered.

    Under autocast, states and weights are cast to its precision; pooling and activation are
    float32 always. `implementation`: ``naive`` holds all logits (the reference); ``chunked`` is
    plain PyTorch and holds at most about `logits_budget` of them; ``triton`` never holds any in
    memory (CUDA, maximum; elsewhere ``chunked`` runs in its place); ``auto`` takes ``triton`` for
    16-bit states on CUDA, else ``chunked``. A term's gradients are summed in a fixed order.
    """
    if states.dim() != 2 or weight.dim() != 2 or states.shape[1] != weight.shape[1]:
        raise ValueError(
            f"states {tuple(states.shape)} and weight {tuple(weight.shape)} must be (tokens, width) "
            "and (vocabulary, width)"
        )
    texts = PackedTexts.of(lengths, states.shape[0])
    kind = states.device.type
    if torch.is_autocast_enabled(kind) and states.dtype != torch.float64:
        states = states.to(torch.get_autocast_dtype(kind))
    if not torch.is_grad_enabled():
        # Told by their inputs, implementations keep nothing for a backward pass.
        states, weight, bias = states.detach(), weight.detach(), None if bias is None else bias.detach()
    weight = weight.to(states.dtype)
    bias = None if bias is None else bias.to(states.dtype)
    with torch.autocast(kind, enabled=False):
        if implementation == "naive":
            return naive_head(states, texts, weight, bias, pooling, activation)
        if _takes_triton(implementation, states, pooling):
            from lsr.composition.sparse_head.triton_head import triton_head

            return triton_head(states, texts, weight, bias, activation)
        return chunked_head(states, texts, weight, bias, pooling, activation, logits_budget)


def _takes_triton(implementation: Implementation, states: torch.Tensor, pooling: HeadPooling) -> bool:
    if implementation == "chunked" or pooling != "max" or not states.numel():
        return False
    if not states.is_cuda or torch.version.hip or find_spec("triton") is None:
        return False
    return states.dtype in _HALF or (implementation == "triton" and states.dtype == torch.float32)
