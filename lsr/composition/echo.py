"""Echo input: a text twice over, its second copy pooled."""

from __future__ import annotations

import torch

from lsr.composition.types import TokenBatch


def echoed(batch: TokenBatch) -> tuple[TokenBatch, torch.Tensor]:
    """Return `batch` with every text repeated once, and a mask of the second copies.

    A decoder's token sees only what stands before it; the tokens of the second copy have read the
    whole text (Mistral-SPLADE, arXiv 2408.11119; echo embeddings, arXiv 2402.15449). Both outputs
    have shape (texts, 2 x length); texts are padded on the right.
    """
    lengths = batch.attention_mask.sum(1, keepdim=True)
    places = torch.arange(2 * batch.input_ids.shape[1], device=lengths.device)[None, :]
    source = (places % lengths.clamp(min=1)).expand(lengths.shape[0], -1)
    read = places < 2 * lengths
    twice = TokenBatch(batch.input_ids.gather(1, source), read.to(batch.attention_mask.dtype))
    return twice, read & (places >= lengths)
