"""Weights of a text's own pieces that expansion does not reach: from the states at their own places.

A model may list the terms that are looked for in every text (``head_rows.npy``), which saves most of the
head's work. Any other piece has a weight in the texts that hold it.
"""

from __future__ import annotations

import torch

from lsr.composition.sparse_head.activation import HeadActivation, activate_


def own_weights(
    states: torch.Tensor,
    pieces: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    wanted: torch.Tensor,
    activation: HeadActivation,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (tokens, weights): the tokens whose piece is `wanted`, and what their piece weighs there.

    `states` (tokens, width) and `pieces` (tokens,) belong together; `weight` (vocabulary, width), `bias`
    (vocabulary,) and `wanted` (vocabulary,), bool, are the head's. Both results have shape (found,).
    """
    chosen = wanted[pieces].nonzero().flatten()
    own = pieces[chosen]
    logits = (states[chosen].float() * weight[own].float()).sum(1)
    if bias is not None:
        logits += bias[own].float()
    return chosen, activate_(logits, activation)
