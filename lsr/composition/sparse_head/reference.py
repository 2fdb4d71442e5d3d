"""The sparse head as the papers write it, with all logits in memory: what the others must equal."""

from __future__ import annotations

import torch
from torch import nn

from lsr.composition.sparse_head.activation import HeadActivation, HeadPooling
from lsr.composition.sparse_head.layout import PackedTexts


def naive_head(
    states: torch.Tensor,
    texts: PackedTexts,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    pooling: HeadPooling,
    activation: HeadActivation,
) -> torch.Tensor:
    """Return term weights, shape (texts, vocabulary); gradients are autograd's.

    Activation before pooling (SPLADE, arXiv 2107.05720; maximum: arXiv 2109.10086). `max` along
    a dimension sends the gradient of a tie to the token it returns, the first.
    """
    logits = nn.functional.linear(states, weight, bias)
    values = torch.relu(logits if logits.dtype == torch.float64 else logits.float())
    if activation != "relu":
        values = torch.log1p(values)
    if activation == "double-log1p":
        values = torch.log1p(values)
    parts = torch.split(values, list(texts.lengths))
    rows = [part.max(0).values if pooling == "max" else part.sum(0) for part in parts]
    return torch.stack(rows) if rows else values.new_zeros((0, weight.shape[0]))
