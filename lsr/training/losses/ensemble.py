"""One teacher made of several, dense and sparse, whose scores have different ranges."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def normalise_per_query(
    scores: torch.Tensor, mask: torch.Tensor | None = None, epsilon: float = 1e-6
) -> torch.Tensor:
    """Return (s - min) / (max - min + epsilon) of each row: every query's scores between 0 and 1.

    `mask`: bool, which scores exist; NaN scores never do. Scores that do not exist come back as NaN and
    take no part in minimum and maximum.
    """
    exist = ~scores.isnan() if mask is None else mask & ~scores.isnan()
    if not scores.shape[1]:
        return scores
    low = torch.where(exist, scores, torch.inf).amin(1, keepdim=True)
    high = torch.where(exist, scores, -torch.inf).amax(1, keepdim=True)
    return torch.where(exist, (scores - low) / (high - low + epsilon), torch.nan)


def ensemble(
    scores: Sequence[torch.Tensor],
    *,
    scale: float = 30.0,
    weights: Sequence[float] | None = None,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the heterogeneous ensemble of teachers (arXiv 2411.04403): scale times their mean.

    `scores`: each teacher's, shape (queries, documents), normalised here by `normalise_per_query`. The
    mean, weighted by `weights` where given, is over the teachers that rated a document; NaN where none
    did. A document that only some rated is compared with the others on those alone, so teachers in
    the loop should rate all. `scale` sets how sharp the softmax of a KL distillation becomes: 30 is
    that of the paper's code, with which the best document of a list weighs e^30 times the worst.
    """
    if not scores or (weights is not None and len(weights) != len(scores)):
        raise ValueError("an ensemble needs at least one teacher and as many weights as teachers")
    total = torch.zeros_like(scores[0])
    weight_sum = torch.zeros_like(scores[0])
    for teacher, weight in zip(scores, weights or [1.0] * len(scores), strict=True):
        normalised = normalise_per_query(teacher, mask)
        exist = ~normalised.isnan()
        total += torch.where(exist, weight * normalised, 0)
        weight_sum += weight * exist
    return torch.where(weight_sum > 0, scale * total / weight_sum, torch.nan)
