"""Weights of a text's own tokens: the token-MLP head's scatter, the lexical gate, bags of tokens."""

from __future__ import annotations

import torch

from lsr.composition.settings import Pooling
from lsr.composition.types import TokenBatch


def bag_of_tokens(batch: TokenBatch, width: int) -> torch.Tensor:
    """Return 1 where a text holds a token and 0 elsewhere, float32, shape (texts, `width`)."""
    bag = torch.zeros((batch.input_ids.shape[0], width), device=batch.input_ids.device)
    return bag.scatter_reduce(1, batch.input_ids, batch.attention_mask.float(), "amax")


def scatter_to_tokens(
    batch: TokenBatch, token_weights: torch.Tensor, width: int, pooling: Pooling
) -> torch.Tensor:
    """Return the weights of each text's own tokens, shape (texts, `width`).

    `token_weights`, at least 0, has the shape of the batch. Repeats of a token are reduced by
    `pooling`: uniCOIL (arXiv 2106.14807) takes a document's maximum and sums up a query's.
    """
    values = token_weights * batch.attention_mask
    weights = values.new_zeros((values.shape[0], width))
    if pooling == "sum":
        return weights.scatter_add(1, batch.input_ids, values)
    return weights.scatter_reduce(1, batch.input_ids, values, "amax")
