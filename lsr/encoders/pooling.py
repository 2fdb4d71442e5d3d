"""From token states to term weights, without ever holding [batch, length, vocabulary] logits.

Tokens come packed, without padding: the states of all texts one below another. The vocabulary is
taken in pieces small enough to stay in the processor's cache; each piece's logits are reduced to
one row a text at once. The activation grows with its argument, so the maximum over tokens is taken
before it, on [batch, vocabulary] instead of [tokens, vocabulary] numbers.
"""

from __future__ import annotations

import torch
from torch import nn

from lsr.encoders.learned_settings import Activation, Pooling

# Logits held at one time: 16 MB of float32 on a processor, 256 MB on an accelerator, where fewer
# and larger kernels are faster.
CPU_LOGITS = 1 << 22
DEVICE_LOGITS = 1 << 26
_NARROWEST = 64


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
    if logits_budget is None:
        logits_budget = CPU_LOGITS if states.device.type == "cpu" else DEVICE_LOGITS
    vocabulary = weight.shape[0]
    tokens = states.shape[0]
    runs = _runs_of_equal_length(lengths)
    step = min(vocabulary, max(_NARROWEST, logits_budget // max(tokens, 1)))
    pooled = torch.empty((len(lengths), vocabulary), dtype=torch.float32, device=states.device)
    for start in range(0, vocabulary, step):
        stop = min(start + step, vocabulary)
        logits = nn.functional.linear(states, weight[start:stop], None if bias is None else bias[start:stop])
        if pooling == "sum":
            logits = activate(logits.float(), activation)
        token = text = 0
        for count, length in runs:
            part = logits[token : token + count * length].view(count, length, stop - start)
            pooled[text : text + count, start:stop] = part.amax(1) if pooling == "max" else part.sum(1)
            token += count * length
            text += count
    return pooled if pooling == "sum" else activate(pooled, activation)


def activate(logits: torch.Tensor, activation: Activation) -> torch.Tensor:
    """Apply ln(1 + relu(x)), or ln(1 + ln(1 + relu(x))) (arXiv 2504.14839), in place."""
    logits = logits.relu_().log1p_()
    return logits.log1p_() if activation == "double-log1p" else logits


def _runs_of_equal_length(lengths: list[int]) -> list[tuple[int, int]]:
    """Return (number of texts, their length) for each run of neighbours of equal length."""
    runs: list[tuple[int, int]] = []
    for length in lengths:
        if runs and runs[-1][1] == length:
            runs[-1] = (runs[-1][0] + 1, length)
        else:
            runs.append((1, length))
    return runs
