"""The sparse head in plain PyTorch: the vocabulary in pieces, each reduced to one row a text at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lsr.composition.sparse_head.activation import HeadActivation, HeadPooling, activate_, slope_at_logit
from lsr.composition.sparse_head.layout import PackedTexts
from lsr.composition.sparse_head.winners import (
    DENSE_SHARE,
    Winners,
    gradients_by_products,
    pieces,
    states_gradient_by_bags,
    weight_gradient_by_bags,
)

# Logits held at one time: 16 MB of float32 on a processor, where they stay in its cache; 256 MB on
# an accelerator, where fewer and larger kernels are faster.
CPU_LOGITS = 1 << 22
DEVICE_LOGITS = 1 << 26
_NARROWEST = 64


def chunked_head(
    states: torch.Tensor,
    texts: PackedTexts,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    pooling: HeadPooling,
    activation: HeadActivation,
    budget: int | None = None,
) -> torch.Tensor:
    """Return term weights, shape (texts, vocabulary), float32 (float64 for float64 states).

    At most about `budget` logits (and at least 64 columns of them) are held at one time.
    """
    if budget is None:
        budget = CPU_LOGITS if states.device.type == "cpu" else DEVICE_LOGITS
    head: Any = _Maximum if pooling == "max" else _Sum
    values: torch.Tensor = head.apply(states, weight, bias, texts, activation, budget)
    return values


class _Maximum(torch.autograd.Function):
    """Maximum, then activation; keeps values and winners, and gives gradients to winners alone."""

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        texts: PackedTexts,
        activation: HeadActivation,
        budget: int,
    ) -> torch.Tensor:
        shape = (len(texts.lengths), weight.shape[0])
        wanted = any(ctx.needs_input_grad[:3])
        values = torch.empty(shape, dtype=_exact(states), device=states.device)
        position = torch.empty(shape if wanted else (0, 0), dtype=texts.position_dtype, device=states.device)
        for columns in pieces(shape[1], _columns(states, budget)):
            logits = _logits(states, weight, bias, columns)
            token = text = 0
            for count, length in texts.runs:
                part = logits[token : token + count * length].view(count, length, -1)
                rows = slice(text, text + count)
                if wanted:
                    values[rows, columns], position[rows, columns] = part.max(1)
                else:
                    values[rows, columns] = part.amax(1)
                token += count * length
                text += count
        activate_(values, activation)
        ctx.texts, ctx.activation, ctx.budget = texts, activation, budget
        ctx.save_for_backward(states, weight, bias, values, position)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        states, weight, bias, values, position = ctx.saved_tensors
        texts: PackedTexts = ctx.texts
        winners = Winners(gradients[0], values, position, texts.starts_on(states.device), ctx.activation)
        of_states = of_weight = of_bias = None
        if winners.active() > DENSE_SHARE * states.shape[0] * weight.shape[0]:
            of_states, of_weight, of_bias = gradients_by_products(winners, texts, states, weight, ctx.budget)
        else:
            if ctx.needs_input_grad[0]:
                of_states = states_gradient_by_bags(winners, texts, weight)
            if any(ctx.needs_input_grad[1:3]):
                of_weight, of_bias = weight_gradient_by_bags(winners, states, weight)
        return of_states, of_weight, _like(of_bias, bias), None, None, None


class _Sum(torch.autograd.Function):
    """Activation, then sum over tokens; the backward pass computes the logits again, in pieces."""

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        texts: PackedTexts,
        activation: HeadActivation,
        budget: int,
    ) -> torch.Tensor:
        values = torch.empty(
            (len(texts.lengths), weight.shape[0]), dtype=_exact(states), device=states.device
        )
        for columns in pieces(weight.shape[0], _columns(states, budget)):
            logits = activate_(_logits(states, weight, bias, columns).to(values.dtype), activation)
            token = text = 0
            for count, length in texts.runs:
                part = logits[token : token + count * length].view(count, length, -1)
                values[text : text + count, columns] = part.sum(1)
                token += count * length
                text += count
        ctx.texts, ctx.activation, ctx.budget = texts, activation, budget
        ctx.save_for_backward(states, weight, bias)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        states, weight, bias = ctx.saved_tensors
        gradient = gradients[0]
        owners = ctx.texts.owners_on(states.device)
        of_states = torch.zeros(states.shape, dtype=gradient.dtype, device=states.device)
        of_weight = torch.empty_like(weight)
        of_bias = gradient.new_empty(weight.shape[0])
        for columns in pieces(weight.shape[0], _columns(states, ctx.budget)):
            logits = _logits(states, weight, bias, columns).to(gradient.dtype)
            at_logits = slope_at_logit(logits, ctx.activation).mul_(gradient[owners, columns])
            of_bias[columns] = at_logits.sum(0)
            at_logits = at_logits.to(states.dtype)
            of_states += at_logits @ weight[columns]
            of_weight[columns] = at_logits.t() @ states
        return of_states.to(states.dtype), of_weight, _like(of_bias, bias), None, None, None


def _exact(states: torch.Tensor) -> torch.dtype:
    return torch.float64 if states.dtype == torch.float64 else torch.float32


def _columns(states: torch.Tensor, budget: int) -> int:
    return max(_NARROWEST, budget // max(states.shape[0], 1))


def _logits(
    states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, columns: slice
) -> torch.Tensor:
    return nn.functional.linear(states, weight[columns], None if bias is None else bias[columns])


def _like(gradient: torch.Tensor | None, bias: torch.Tensor | None) -> torch.Tensor | None:
    return None if gradient is None or bias is None else gradient.to(bias.dtype)
