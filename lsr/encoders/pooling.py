"""From token states to term weights, without ever holding [batch, length, vocabulary] logits.

Tokens come packed, without padding: the states of all texts one below another. The work is that of
`lsr.composition.sparse_head`, without gradients.
"""

from __future__ import annotations

import torch

from lsr.composition.sparse_head import sparse_head
from lsr.encoders.learned_settings import Activation, Pooling


@torch.no_grad()
def pooled_weights(
    states: torch.Tensor,
    lengths: list[int],
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    pooling: Pooling,
    activation: Activation,
    logits_budget: int | None = None,
) -> torch.Tensor:
    """Return the term weights of packed texts, shape (texts, vocabulary), float32.

    `states` has shape (tokens, width) and holds, text after text, the `lengths` tokens of each
    (none of them 0); `weight` (vocabulary, width) and `bias` (vocabulary,) project them to logits.
    ``max`` pooling is SPLADE v2's (arXiv 2109.10086), ``sum`` SPLADE's (arXiv 2107.05720).
    Texts of equal length that are neighbours are reduced together: sort them.
    """
    return sparse_head(
        states, lengths, weight, bias, pooling=pooling, activation=activation, logits_budget=logits_budget
    )
