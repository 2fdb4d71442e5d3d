from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lsr.encoders.pooling import pooled_weights

ACTIVATIONS = {
    "log1p": lambda x: np.log1p(np.maximum(x, 0)),
    "double-log1p": lambda x: np.log1p(np.log1p(np.maximum(x, 0))),
}


def reference(states, lengths, weight, bias, pooling, activation):
    """Float64, activation before pooling, as the papers write it."""
    rows, start = [], 0
    for length in lengths:
        logits = states[start : start + length].astype(np.float64) @ weight.T.astype(np.float64) + bias
        values = ACTIVATIONS[activation](logits)
        rows.append(values.max(0) if pooling == "max" else values.sum(0))
        start += length
    return np.array(rows)


@pytest.mark.parametrize("pooling", ["max", "sum"])
@pytest.mark.parametrize("activation", ["log1p", "double-log1p"])
@pytest.mark.parametrize("budget", [1, 2000, 10**9])
def test_pieces_equal_the_formula(pooling, activation, budget):
    generator = np.random.default_rng(1)
    lengths = [9, 9, 4, 4, 4, 1, 7]
    states = generator.normal(size=(sum(lengths), 16)).astype(np.float32)
    weight = generator.normal(size=(333, 16)).astype(np.float32)
    bias = generator.normal(size=333).astype(np.float32)
    got = pooled_weights(
        torch.from_numpy(states),
        lengths,
        torch.from_numpy(weight),
        torch.from_numpy(bias),
        pooling=pooling,
        activation=activation,
        logits_budget=budget,
    )
    expected = reference(states, lengths, weight, bias, pooling, activation)
    np.testing.assert_allclose(got.numpy(), expected, rtol=2e-5, atol=2e-6)


def test_head_without_bias():
    states, weight = torch.randn(3, 8), torch.randn(100, 8)
    got = pooled_weights(states, [3], weight, None, pooling="max", activation="log1p")
    torch.testing.assert_close(got, torch.log1p(torch.relu((states @ weight.T).amax(0)))[None])


class LargestTensor(TorchDispatchMode):
    """Remembers the largest tensor that any operation returned."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, torch.Tensor):
                self.numbers = max(self.numbers, value.numel())
        return result


@pytest.mark.parametrize("pooling", ["max", "sum"])
def test_logits_of_a_wide_vocabulary_are_never_held(pooling):
    texts, length, vocabulary = 4, 64, 250_002
    states = torch.randn(texts * length, 8)
    weight, bias = torch.randn(vocabulary, 8), torch.randn(vocabulary)
    with LargestTensor() as largest, torch.inference_mode():
        pooled_weights(states, [length] * texts, weight, bias, pooling=pooling, activation="log1p")
    # The weight itself and the logits budget, where all logits would be 64 million numbers.
    assert largest.numbers <= 1 << 22
    assert largest.numbers < texts * length * vocabulary / 10
