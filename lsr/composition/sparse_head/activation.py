"""The activations of sparse heads and their slopes.

``log1p`` is ln(1 + relu(x)) (SPLADE, arXiv 2107.05720), ``double-log1p`` ln(1 + ln(1 + relu(x)))
(arXiv 2504.14839), ``relu`` relu(x). All grow with x, so a maximum can be taken before them, and
all can be inverted where they are positive, so the slope follows from the value alone.
"""

from __future__ import annotations

from typing import Literal

import torch

HeadActivation = Literal["log1p", "double-log1p", "relu"]
HeadPooling = Literal["max", "sum"]


def activate_(logits: torch.Tensor, activation: HeadActivation) -> torch.Tensor:
    """Apply the activation in place and return `logits`."""
    logits.relu_()
    if activation != "relu":
        logits.log1p_()
    if activation == "double-log1p":
        logits.log1p_()
    return logits


def slope_at_value(values: torch.Tensor, activation: HeadActivation) -> torch.Tensor:
    """Return d activation / d logit, given the activation's value; 0 where the value is 0.

    With y = ln(1 + x) the slope 1 / (1 + x) is exp(-y). With y = ln(1 + ln(1 + x)) it is
    exp(-y) exp(-(exp(y) - 1)). At x = 0 exactly the slope is taken as 0, as relu's is in PyTorch.
    """
    if activation == "relu":
        return (values > 0).to(values.dtype)
    slope = torch.neg(values)
    if activation == "double-log1p":
        slope -= torch.expm1(values)
    return slope.exp_().mul_(values > 0)


def slope_at_logit(logits: torch.Tensor, activation: HeadActivation) -> torch.Tensor:
    """Return d activation / d logit, given the logit; 0 where it is not positive."""
    positive = (logits > 0).to(logits.dtype)
    if activation == "relu":
        return positive
    rest = logits.clamp_min(0)
    slope = positive / (1 + rest)
    return slope / (1 + rest.log1p()) if activation == "double-log1p" else slope
