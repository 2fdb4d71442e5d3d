"""By what to multiply each column of a layer's inputs before they become integers.

A few columns of BERT's activations are many times larger than the others and would take all levels
of an 8-bit row for themselves. Columns are scaled down and their weights up in turn (SmoothQuant,
arXiv 2211.10438); how large a column grows is seen on texts of random pieces, since the columns are
the same whatever the text says. The few hidden units of the feed-forward layers whose weights or
outputs dwarf the others stay float32 (as in LLM.int8(), arXiv 2208.07339).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lsr.encoders.int8_kernels import GELU_FLOOR, Floats

# How much of the burden the weights take. Hidden units share it evenly, once the largest are apart.
_SHARE, _HIDDEN_SHARE = 0.7, 0.5
_UNITS_APART = 8
_TEXTS, _PIECES = 8, 64
_SMALLEST = 1e-6


def largest_inputs(model: Any) -> dict[str, torch.Tensor]:
    """Return the largest magnitude of every column that enters each linear layer, by the layer's name.

    Inputs of a layer behind a GELU (``layer.N.output.dense``) count from the GELU's floor.
    """
    largest: dict[str, torch.Tensor] = {}
    hooks = []

    def watch(name: str, layer: nn.Linear) -> None:
        def look(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            columns = inputs[0].detach().flatten(0, -2)
            if name.endswith(".output.dense") and ".attention." not in name:
                columns = columns - float(GELU_FLOOR)
            found = columns.abs().amax(0)
            largest[name] = torch.maximum(largest[name], found) if name in largest else found

        hooks.append(layer.register_forward_pre_hook(look))

    for name, layer in model.bert.encoder.named_modules():
        if isinstance(layer, nn.Linear):
            watch(name, layer)
    config = model.config
    generator = torch.Generator().manual_seed(0)
    length = min(_PIECES, int(config.max_position_embeddings))
    ids = torch.randint(0, int(config.vocab_size), (_TEXTS, length), generator=generator)
    try:
        with torch.inference_mode():
            model.bert(input_ids=ids)
    finally:
        for hook in hooks:
            hook.remove()
    return largest


def damping(weight: torch.Tensor, largest: torch.Tensor, *, hidden: bool = False) -> Floats:
    """Return the factors of a layer's input columns, shape (inputs,), from their largest magnitudes.

    Rounded to powers of the square root of 2, so that machines whose sums differ in the last bits
    agree on them.
    """
    share = _HIDDEN_SHARE if hidden else _SHARE
    columns = weight.detach().abs().amax(0).clamp_min(_SMALLEST).double().log2()
    inputs = largest.clamp_min(_SMALLEST).double().log2()
    exponents = (1 - share) * columns - share * inputs
    exponents = torch.round(2 * (exponents - exponents.median())) / 2
    factors: Floats = torch.exp2(exponents).float().numpy()
    return factors


def units_apart(weight: torch.Tensor, largest: torch.Tensor) -> NDArray[np.int64]:
    """Return the inputs of a layer that stay float32: largest weight, beside its row's, x input."""
    of_rows = weight.detach().square().mean(1, keepdim=True).sqrt().clamp_min(_SMALLEST)
    share = (weight.detach().abs() / of_rows).amax(0) * largest
    units: NDArray[np.int64] = share.topk(min(_UNITS_APART, share.numel())).indices.sort().values.numpy()
    return units
