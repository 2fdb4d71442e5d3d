"""The Triton kernels: on a GPU where there is one, else in Triton's interpreter (TRITON_INTERPRET=1)."""

from __future__ import annotations

import os

import pytest
import torch

# ruff: noqa: E402
pytest.importorskip("triton")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
if not (torch.cuda.is_available() or INTERPRETED):
    pytest.skip("needs CUDA, or TRITON_INTERPRET=1", allow_module_level=True)

from lsr.composition.sparse_head import triton_head
from lsr.composition.sparse_head.chunked import chunked_head
from lsr.composition.sparse_head.layout import PackedTexts
from lsr.composition.sparse_head.triton_head import Tile

# The interpreter has no bfloat16 products.
HALF = torch.float16 if INTERPRETED else torch.bfloat16
DEVICE = "cpu" if INTERPRETED else "cuda"
LENGTHS = [20, 7, 1, 13] if INTERPRETED else [256, 40, 7, 1, 130, 33, 300]
VOCABULARY = 70 if INTERPRETED else 30_522


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch):
    if INTERPRETED:  # which takes its time for each element of a tile
        monkeypatch.setattr(triton_head, "TILES", (Tile(32, 16, 16, 4, 2),) * 4)


def inputs(dtype, *, width=32, bias=True, shift=0.0, vocabulary=VOCABULARY):
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        # Whole numbers: logits are exact in every precision, and so are winners; ties are common.
        return (2 * torch.randn(*shape, generator=generator)).round()

    tensors = [draw(sum(LENGTHS), width), draw(vocabulary, width)]
    tensors += [draw(vocabulary) + shift] if bias else []
    return [x.to(DEVICE, dtype) for x in tensors]


def outcome(head, tensors, activation):
    copies = [x.clone().requires_grad_() for x in tensors]
    states, weight, *bias = copies
    values = head(states, weight, bias[0] if bias else None, activation)
    pull = torch.randn(values.shape, generator=torch.Generator().manual_seed(1)).to(values)
    (values * pull).sum().backward()
    return [values.detach(), *(copy.grad for copy in copies)]


def by_triton(states, weight, bias, activation):
    return triton_head.triton_head(states, PackedTexts(tuple(LENGTHS)), weight, bias, activation)


def by_pieces(states, weight, bias, activation):
    return chunked_head(states, PackedTexts(tuple(LENGTHS)), weight, bias, "max", activation)


def assert_near(got, expected, tolerance):
    for a, b in zip(got, expected, strict=True):
        assert a.isfinite().all()
        assert (a.double() - b.double()).norm() <= tolerance * b.double().norm()


@pytest.mark.parametrize("activation", ["log1p", "double-log1p", "relu"])
@pytest.mark.parametrize("shift", [0.0, -20.0])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_equals_pieces_in_float32(activation, shift, share, monkeypatch):
    monkeypatch.setattr(triton_head, "DENSE_SHARE", share)
    tensors = inputs(torch.float32, shift=shift)
    got = outcome(by_triton, tensors, activation)
    expected = outcome(by_pieces, [x.double() for x in tensors], activation)
    assert_near(got, expected, 1e-5)


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("bias", [True, False])
def test_equals_exact_result_in_16_bits(share, bias, monkeypatch):
    monkeypatch.setattr(triton_head, "DENSE_SHARE", share)
    tensors = inputs(HALF, bias=bias)
    got = outcome(by_triton, tensors, "log1p")
    expected = outcome(by_pieces, [x.double() for x in tensors], "log1p")
    assert_near(got[:1], expected[:1], 1e-5)  # sums of products of 16-bit numbers are float32
    assert_near(got[1:], expected[1:], 1e-2)


def test_width_that_no_block_divides():
    tensors = inputs(HALF, width=72)
    got = outcome(by_triton, tensors, "log1p")
    assert_near(got, outcome(by_pieces, [x.double() for x in tensors], "log1p"), 1e-2)


@pytest.mark.parametrize("tokens", [16, 32, 64])
def test_first_of_tied_tokens_wins(tokens):
    states = torch.ones(sum(LENGTHS), 32, device=DEVICE, dtype=HALF)
    states[0] = 0
    weight = torch.ones(VOCABULARY, 32, device=DEVICE, dtype=HALF)
    values, position = triton_head.pooled_logits(
        states,
        PackedTexts(tuple(LENGTHS)),
        weight,
        None,
        keep_position=True,
        tile=Tile(32, tokens, 16, 4, 2),
    )
    assert (values == 32).all()
    assert (position[0] == 1).all()
    assert not position[1:].any()


def test_not_a_number_is_seen():
    states, weight = inputs(torch.float32, bias=False)
    states[LENGTHS[0] + 2] = float("nan")
    values = by_triton(states, weight, None, "log1p")
    assert values[1].isnan().all()
    assert values[[0, *range(2, len(LENGTHS))]].isfinite().all()


def test_two_runs_give_the_same_bits():
    tensors = inputs(HALF)
    for a, b in zip(*(outcome(by_triton, tensors, "log1p") for _ in range(2)), strict=True):
        assert torch.equal(a, b)
