"""From packed token states to term weights over the vocabulary, any pooling, any activation."""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from lsr.composition.settings import Activation, Pooling
from lsr.composition.sparse_head import sparse_head


def vocabulary_weights(
    states: torch.Tensor,
    lengths: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    pooling: Pooling,
    activation: Activation | Literal["identity"],
) -> torch.Tensor:
    """Return the term weights of packed texts, shape (texts, vocabulary), float32.

    `states` has shape (tokens, width) and holds, text after text, the `lengths` tokens of each, at
    least 1, int64 of shape (texts,); `weight` (vocabulary, width) and `bias` (vocabulary,) project
    them. Activations that are 0 below 0 go through `lsr.composition.sparse_head`. With the others
    every term of every text has a gradient; logits are then held for one text at a time, in the
    backward pass too, where they are computed again.
    """
    if activation in ("log1p", "double-log1p", "relu"):
        return sparse_head(states, lengths, weight, bias, pooling=pooling, activation=activation)
    rows = [
        checkpoint(_one_text, part, weight, bias, pooling, activation, use_reentrant=False)
        for part in torch.split(states, lengths.tolist())
    ]
    return torch.stack(rows) if rows else states.new_zeros((0, weight.shape[0])).float()


def activate(logits: torch.Tensor, activation: Activation | Literal["identity"]) -> torch.Tensor:
    """Apply `activation`, as `lsr.composition.settings.SideSettings` defines it; float32 out."""
    logits = logits.float()
    if activation == "identity":
        return logits
    if activation == "softplus":
        return functional.softplus(logits)
    if activation == "log1p-softplus":
        return functional.softplus(logits).log1p()
    weights = logits.relu()
    if activation in ("log1p", "double-log1p"):
        weights = weights.log1p()
    return weights.log1p() if activation == "double-log1p" else weights


def _one_text(
    states: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    pooling: Pooling,
    activation: Activation | Literal["identity"],
) -> torch.Tensor:
    logits = functional.linear(states, weight, bias)
    if pooling == "sum":
        return activate(logits, activation).sum(0)
    # Every activation grows with its argument, so the maximum may come first.
    return activate(logits.amax(0), activation)
