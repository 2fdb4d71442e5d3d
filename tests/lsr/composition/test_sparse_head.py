from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from lsr.composition.sparse_head import chunked, sparse_head, winners

POOLINGS = ["max", "sum"]
ACTIVATIONS = ["log1p", "double-log1p", "relu"]


def inputs(lengths, vocabulary, width, *, dtype=torch.float64, bias=True, shift=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    states, weight, offset = draw(sum(lengths), width), draw(vocabulary, width), draw(vocabulary) + shift
    return [x.to(dtype).requires_grad_() for x in ([states, weight, offset] if bias else [states, weight])]


def outcome(tensors, lengths, implementation, **options):
    """The values, and the gradients of a fixed random sum of them."""
    copies = [x.detach().clone().requires_grad_() for x in tensors]
    states, weight, *bias = copies
    values = sparse_head(
        states, lengths, weight, bias[0] if bias else None, implementation=implementation, **options
    )
    generator = torch.Generator().manual_seed(1)
    pull = torch.randn(values.shape, generator=generator, dtype=torch.float64).to(values)
    (values * pull).sum().backward()
    return [values.detach(), *(copy.grad for copy in copies)]


def assert_same(got, expected, **tolerance):
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shift", [0.0, -6.0])  # most terms active, few terms active
@pytest.mark.parametrize("budget", [1, 10**9])
def test_chunked_equals_naive(pooling, activation, shift, budget):
    lengths = [9, 9, 4, 1, 7, 4]
    tensors = inputs(lengths, 333, 16, shift=shift)
    options = {"pooling": pooling, "activation": activation}
    got = outcome(tensors, lengths, "chunked", logits_budget=budget, **options)
    assert_same(got, outcome(tensors, lengths, "naive", **options), rtol=1e-10, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=7),
    vocabulary=st.integers(1, 200),
    width=st.integers(1, 9),
    pooling=st.sampled_from(POOLINGS),
    activation=st.sampled_from(ACTIVATIONS),
    bias=st.booleans(),
    shift=st.sampled_from([-9.0, -3.0, 0.0]),
    share=st.sampled_from([0.0, 1.0]),  # always products, always bags
    budget=st.sampled_from([1, 500, 10**6]),
)
def test_chunked_equals_naive_at_any_shape(
    lengths, vocabulary, width, pooling, activation, bias, shift, share, budget
):
    tensors = inputs(lengths, vocabulary, width, bias=bias, shift=shift)
    options = {"pooling": pooling, "activation": activation}
    expected = outcome(tensors, lengths, "naive", **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked, "DENSE_SHARE", share)
        patch.setattr(winners, "PAIRS", 400)
        got = outcome(tensors, lengths, "chunked", logits_budget=budget, **options)
    assert_same(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradcheck(pooling, activation, share, monkeypatch):
    monkeypatch.setattr(chunked, "DENSE_SHARE", share)
    lengths = torch.tensor([3, 1, 4])
    tensors = inputs([3, 1, 4], 70, 3)

    def head(states, weight, bias):
        return sparse_head(
            states, lengths, weight, bias, pooling=pooling, activation=activation, logits_budget=1
        )

    assert torch.autograd.gradcheck(head, tensors)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_float32_equals_float64(share, monkeypatch):
    monkeypatch.setattr(chunked, "DENSE_SHARE", share)
    lengths = [5, 2, 8]
    tensors = inputs(lengths, 500, 24, dtype=torch.float32)
    exact = outcome([x.detach().double() for x in tensors], lengths, "naive")
    got = outcome(tensors, lengths, "chunked")
    assert {x.dtype for x in got} == {torch.float32}
    assert_same([x.double() for x in got], exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_bfloat16_is_near_and_pools_in_float32(share, monkeypatch):
    monkeypatch.setattr(chunked, "DENSE_SHARE", share)
    lengths = [5, 2, 8]
    # Wide apart logits: rounding moves no winner.
    tensors = inputs(lengths, 300, 24, dtype=torch.bfloat16)
    got = outcome(tensors, lengths, "chunked")
    expected = outcome(tensors, lengths, "naive")
    assert got[0].dtype == torch.float32
    assert [x.dtype for x in got[1:]] == [torch.bfloat16] * 3
    for a, b in zip(got, expected, strict=True):
        assert (a.double() - b.double()).norm() <= 2e-2 * b.double().norm()


def test_autocast_casts_inputs_and_returns_gradients_in_float32():
    lengths = [5, 2, 8]
    tensors = inputs(lengths, 300, 24, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = outcome(tensors, lengths, "auto")
    rounded = outcome([x.detach().bfloat16() for x in tensors], lengths, "chunked")
    assert {x.dtype for x in got} == {torch.float32}
    assert_same(got, [x.float() for x in rounded], rtol=0, atol=0)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_negative_logits_give_nothing(pooling):
    lengths = [3, 4]
    tensors = inputs(lengths, 90, 4, shift=-1e4)
    values, *gradients = outcome(tensors, lengths, "chunked", pooling=pooling)
    assert not values.any()
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_first_of_tied_tokens_receives_the_gradient(share, monkeypatch):
    monkeypatch.setattr(chunked, "DENSE_SHARE", share)
    states = torch.tensor([[1.0], [2.0], [2.0], [2.0]], requires_grad=True)
    weight = torch.ones(100, 1)
    sparse_head(states, [4], weight, None, activation="relu").sum().backward()
    assert states.grad.flatten().tolist() == [0, 100, 0, 0]


@pytest.mark.parametrize("implementation", ["chunked", "naive"])
def test_not_a_number_is_seen(implementation):
    states, weight = torch.randn(4, 3), torch.randn(80, 3)
    states[1] = float("nan")
    values = sparse_head(states, [2, 2], weight, None, implementation=implementation)
    assert values[0].isnan().all()
    assert values[1].isfinite().all()


def test_triton_falls_back_without_cuda():
    lengths = [3, 4]
    tensors = inputs(lengths, 90, 4)
    assert_same(outcome(tensors, lengths, "triton"), outcome(tensors, lengths, "chunked"), rtol=0, atol=0)


def test_no_texts():
    for pooling in POOLINGS:
        states = torch.zeros(0, 4, requires_grad=True)
        values = sparse_head(states, [], torch.randn(70, 4), None, pooling=pooling)
        assert values.shape == (0, 70)
        values.sum().backward()
        assert states.grad.shape == (0, 4)


@pytest.mark.parametrize(
    ("lengths", "message"), [([2, 0], "at least one token"), ([1, 2], "add up to 3, but there are 2")]
)
def test_lengths_are_checked(lengths, message):
    with pytest.raises(ValueError, match=message):
        sparse_head(torch.zeros(2, 3), lengths, torch.zeros(5, 3), None)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="must be"):
        sparse_head(torch.zeros(2, 3), [2], torch.zeros(5, 4), None)


class LargestTensor(TorchDispatchMode):
    """Remembers the largest tensor that any operation returned."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, torch.Tensor):
                self.numbers = max(self.numbers, value.numel())
        return result


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("shift", [0.0, -12.0])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_logits_are_never_held(pooling, shift, share, monkeypatch):
    monkeypatch.setattr(chunked, "DENSE_SHARE", share)
    monkeypatch.setattr(winners, "PAIRS", 1 << 12)
    lengths, vocabulary, width = [64] * 6, 5000, 8
    states, weight, bias = inputs(lengths, vocabulary, width, dtype=torch.float32, shift=shift)
    held = LargestTensor()
    with held:
        values = sparse_head(states, lengths, weight, bias, pooling=pooling, logits_budget=40_000)
        values.sum().backward()
    assert held.numbers <= vocabulary * width  # the weights' own gradient
    assert held.numbers * 40 < sum(lengths) * vocabulary
    naive = LargestTensor()
    with naive:
        sparse_head(states, lengths, weight, bias, pooling=pooling, implementation="naive")
    assert naive.numbers == sum(lengths) * vocabulary
