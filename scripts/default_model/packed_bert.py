"""BERT's forward pass over texts laid end to end: no padding, few and fused steps.

A third of the places of a padded batch of texts of all lengths are padding, and on a large accelerator a
small model waits more for its many small steps than for its products. Attention is PyTorch's variable
length kernel; what stands between two attentions is one compiled function.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.nn import functional

from .dense import Packed


def _rest_of_layer(
    hidden: torch.Tensor,
    mixed: torch.Tensor,
    attended: tuple[torch.Tensor, torch.Tensor],
    attention_norm: tuple[torch.Tensor, torch.Tensor],
    widened: tuple[torch.Tensor, torch.Tensor],
    narrowed: tuple[torch.Tensor, torch.Tensor],
    output_norm: tuple[torch.Tensor, torch.Tensor],
    epsilon: float,
) -> torch.Tensor:
    """Return what follows the attention of a layer: projection, feed-forward network, both norms."""
    width = hidden.shape[-1:]
    between = functional.layer_norm(
        functional.linear(mixed, *attended) + hidden, width, *attention_norm, eps=epsilon
    )
    wide = functional.gelu(functional.linear(between, *widened))
    return functional.layer_norm(
        functional.linear(wide, *narrowed) + between, width, *output_norm, eps=epsilon
    )


@cache
def _compiled_rest() -> Callable[..., torch.Tensor]:
    return torch.compile(_rest_of_layer)  # type: ignore[no-any-return]


class PackedBert:
    """The body of a ``BertForMaskedLM`` over packed texts; its parameters are the model's own."""

    def __init__(self, model: Any, *, compiled: bool) -> None:
        self._bert = model.bert
        self._heads = int(model.config.num_attention_heads)
        self._epsilon = float(model.config.layer_norm_eps)
        self._compiled = compiled
        self._rest = _compiled_rest() if compiled else _rest_of_layer

    def states(self, texts: Packed) -> torch.Tensor:
        """Return the last hidden states, shape (tokens, width)."""
        embeddings = self._bert.embeddings
        norm = embeddings.LayerNorm
        hidden: torch.Tensor = functional.layer_norm(
            functional.embedding(texts.tokens, embeddings.word_embeddings.weight)
            + functional.embedding(texts.places, embeddings.position_embeddings.weight)
            + embeddings.token_type_embeddings.weight[0],
            (norm.weight.numel(),),
            norm.weight,
            norm.bias,
            norm.eps,
        )
        for layer in self._bert.encoder.layer:
            own = layer.attention.self
            parts = (own.query, own.key, own.value)
            projected = functional.linear(
                hidden, torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])
            )
            mixed = _attention(projected, texts, self._heads)
            if self._compiled:
                # Only the number of tokens varies.
                torch._dynamo.mark_dynamic(hidden, 0)
                torch._dynamo.mark_dynamic(mixed, 0)
            output, wide, narrow = layer.attention.output, layer.intermediate.dense, layer.output
            hidden = self._rest(
                hidden,
                mixed,
                (output.dense.weight, output.dense.bias),
                (output.LayerNorm.weight, output.LayerNorm.bias),
                (wide.weight, wide.bias),
                (narrow.dense.weight, narrow.dense.bias),
                (narrow.LayerNorm.weight, narrow.LayerNorm.bias),
                self._epsilon,
            )
        return hidden


@cache
def _variable_length_kernel() -> Callable[..., torch.Tensor] | None:
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:  # before PyTorch 2.10
        return None
    return varlen_attn  # type: ignore[no-any-return,return-value]


def _attention(projected: torch.Tensor, texts: Packed, heads: int) -> torch.Tensor:
    """Return every text's attention over itself, shape (tokens, width)."""
    tokens, width = projected.shape[0], projected.shape[1] // 3
    query, key, value = projected.view(tokens, 3, heads, width // heads).unbind(1)
    kernel = _variable_length_kernel()
    if kernel and projected.is_cuda and projected.dtype in (torch.bfloat16, torch.float16):
        found = kernel(query, key, value, texts.starts, texts.starts, texts.longest, texts.longest)
        return found.reshape(tokens, width)
    shape = (texts.count, texts.longest)
    padded = []
    for part in (query, key, value):
        places = part.new_zeros(*shape, heads, width // heads)
        places = places.index_put((texts.owners, texts.places), part)
        padded.append(places.transpose(1, 2))
    mask = torch.zeros(shape, dtype=torch.bool, device=projected.device)
    mask[texts.owners, texts.places] = True
    mixed = functional.scaled_dot_product_attention(*padded, attn_mask=mask[:, None, None, :])
    return mixed.transpose(1, 2)[texts.owners, texts.places].reshape(tokens, width)
