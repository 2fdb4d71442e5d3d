"""BERT on a processor in 8-bit integers: packed tokens, no padding, every text by itself.

Attention scores, softmax, layer norms and the head's transform stay float32. The transform is a
small layer whose rows, where training began from the identity, are one large number and many tiny
ones: those do not fit 7 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lsr.encoders.int8_damping import damping, largest_inputs, units_apart
from lsr.encoders.int8_kernels import (
    GELU_FLOOR,
    Floats,
    add_norm_quantise,
    dequantise,
    gelu_quantise,
    quantise,
)
from lsr.encoders.int8_linear import Int8Linear
from lsr.errors import UserError

_WHERE = "leave --encoder-option precision=int8 out, or give precision=float32"


@dataclass(frozen=True)
class _Layer:
    """One layer: two products of attention, two of the feed-forward network, two layer norms.

    The hidden units `apart` reach the output in float32, by the rows `apart_weight`.
    """

    damping: Floats
    qkv: Int8Linear
    attended: Int8Linear
    attention_norm: tuple[Floats, Floats]
    widened: Int8Linear
    widened_damping: Floats
    narrowed: Int8Linear
    narrowed_damping: Floats
    narrowed_lifts: Floats
    apart: NDArray[np.int64]
    apart_weight: torch.Tensor
    output_norm: tuple[Floats, Floats]


class Int8Bert:
    """The body and head transform of a ``BertForMaskedLM``; `states` is what its decoder reads."""

    def __init__(self, model: Any, origin: str) -> None:
        config = model.config
        _check(model, origin)
        self._heads = int(config.num_attention_heads)
        self._width = int(config.hidden_size)
        self._epsilon = float(config.layer_norm_eps)
        embeddings = model.bert.embeddings
        self._words = embeddings.word_embeddings.weight.detach()
        first_type = embeddings.token_type_embeddings.weight[0]
        self._places = (embeddings.position_embeddings.weight + first_type).detach()
        self._embedding_norm = embeddings.LayerNorm
        self._transform = model.cls.predictions.transform
        largest = largest_inputs(model)
        self._layers = [_quantised(layer, largest, i) for i, layer in enumerate(model.bert.encoder.layer)]
        # Behind the last layer stands the float32 transform.
        self._dampings = [*(layer.damping for layer in self._layers), np.ones(self._width, np.float32)]

    def states(
        self, ids: torch.Tensor, lengths: list[int], chosen: NDArray[np.int64] | None = None
    ) -> torch.Tensor:
        """Return the states of packed texts, shape (tokens, width), float32.

        `ids` (tokens,), int64, holds text after text the `lengths` tokens of each. Of the states those at
        `chosen`, shape (chosen,), are returned; of all tokens where it is None.
        """
        tokens, width = ids.numel(), self._width
        places = torch.cat([self._places[:length] for length in lengths])
        embedded: torch.Tensor = self._embedding_norm(self._words[ids] + places)
        hidden: Floats = embedded.numpy()
        wide = max((layer.widened.outputs for layer in self._layers), default=width)
        row = np.empty(max(wide, width), np.float32)
        codes, scales = np.empty((tokens, width), np.int8), np.empty(tokens, np.float32)
        wide_codes, wide_scales = np.empty((tokens, wide), np.int8), np.empty(tokens, np.float32)
        nothing, ones = np.zeros(width, np.float32), np.ones(width, np.float32)
        between, following = np.empty_like(hidden), np.empty_like(hidden)
        projected = np.empty((tokens, 3 * width), np.float32)
        quantise(hidden, self._dampings[0], codes, scales, row[:width])
        for layer, damped in zip(self._layers, self._dampings[1:], strict=True):
            dequantise(layer.qkv.sums(codes), scales, layer.qkv.steps, layer.qkv.bias, projected)
            quantise(self._attend(projected, lengths), ones, codes, scales, row[:width])
            product = layer.attended
            add_norm_quantise(
                product.sums(codes), scales, product.steps, product.bias, nothing, hidden,
                *layer.attention_norm, self._epsilon, layer.widened_damping, between, codes, scales,
                row[:width],
            )  # fmt: skip
            product = layer.widened
            exact = np.empty((tokens, layer.apart.size), np.float32)
            gelu_quantise(
                product.sums(codes), scales, product.steps, product.bias,
                layer.narrowed_damping, layer.apart, exact, wide_codes, wide_scales, row[:wide],
            )  # fmt: skip
            product = layer.narrowed
            residual = torch.from_numpy(between).addmm_(torch.from_numpy(exact), layer.apart_weight)
            add_norm_quantise(
                product.sums(wide_codes), wide_scales, product.steps, product.bias, layer.narrowed_lifts,
                residual.numpy(),
                *layer.output_norm, self._epsilon, damped, following, codes, scales, row[:width],
            )  # fmt: skip
            hidden, following = following, hidden
        transformed: torch.Tensor = self._transform(
            torch.from_numpy(hidden if chosen is None else hidden[chosen])
        )
        return transformed

    def _attend(self, projected: Floats, lengths: list[int]) -> Floats:
        heads = torch.from_numpy(projected).view(len(projected), 3, self._heads, self._width // self._heads)
        attended = torch.empty(len(projected), self._width)
        start = 0
        for length in lengths:
            query, key, value = heads[start : start + length].permute(1, 2, 0, 3)[:, None]
            mixed = nn.functional.scaled_dot_product_attention(query, key, value)[0]
            attended[start : start + length] = mixed.transpose(0, 1).reshape(length, self._width)
            start += length
        found: Floats = attended.numpy()
        return found


def _quantised(layer: Any, largest: dict[str, torch.Tensor], number: int) -> _Layer:
    """Return the integer form of `layer`; `largest` are its columns' largest inputs."""
    attention, name = layer.attention, f"layer.{number}."
    parts = (attention.self.query, attention.self.key, attention.self.value)
    weight = torch.cat([part.weight for part in parts])
    damped = damping(weight, largest[name + "attention.self.query"])
    wide = layer.intermediate.dense
    wide_damped = damping(wide.weight, largest[name + "intermediate.dense"])
    narrow, inputs = layer.output.dense.weight.detach(), largest[name + "output.dense"]
    apart = units_apart(narrow, inputs)
    rest, rest_inputs = narrow.clone(), inputs.clone()
    rest[:, apart], rest_inputs[apart] = 0, 0
    narrow_damped = damping(rest, rest_inputs, hidden=True)
    # Every input is counted from the GELU's floor, those apart not at all.
    bias = layer.output.dense.bias.detach() + float(GELU_FLOOR) * rest.sum(1)
    narrowed = Int8Linear(rest, bias, narrow_damped)
    return _Layer(
        damping=damped,
        qkv=Int8Linear(weight, torch.cat([part.bias for part in parts]), damped),
        attended=Int8Linear(attention.output.dense.weight, attention.output.dense.bias),
        attention_norm=_norm(attention.output.LayerNorm),
        widened=Int8Linear(wide.weight, wide.bias, wide_damped),
        widened_damping=wide_damped,
        narrowed=narrowed,
        narrowed_damping=narrow_damped,
        narrowed_lifts=127 * narrowed.row_sums,
        apart=apart,
        apart_weight=narrow[:, apart].t().contiguous(),
        output_norm=_norm(layer.output.LayerNorm),
    )


def _norm(norm: nn.LayerNorm) -> tuple[Floats, Floats]:
    return norm.weight.detach().float().numpy(), norm.bias.detach().float().numpy()


def _check(model: Any, origin: str) -> None:
    config = model.config
    if type(model).__name__ != "BertForMaskedLM" or getattr(config, "is_decoder", False):
        raise UserError(
            f"{origin}: precision=int8 is known for BertForMaskedLM, and this is {type(model).__name__}; {_WHERE}."
        )
    if config.hidden_act != "gelu" or getattr(config, "position_embedding_type", "absolute") != "absolute":
        raise UserError(
            f"{origin}: precision=int8 is known for BERT with gelu and absolute positions; {_WHERE}."
        )
    if not all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters()):
        raise UserError(f"{origin} has weights that are not finite; {_WHERE}, or check the model.")
