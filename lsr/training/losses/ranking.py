"""What ranking losses share: their type, and the parts of a scored batch that they look at."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import nn

from lsr.errors import UserError
from lsr.training.batch import ScoredBatch

Over = Literal["candidates", "batch"]


class RankingLoss(nn.Module):
    """What all ranking losses are: a scored batch to a scalar."""

    def forward(self, batch: ScoredBatch) -> torch.Tensor:
        """Return the loss, a mean over queries or over pairs; 0 where there is nothing to compare."""
        raise NotImplementedError


class Rated(NamedTuple):
    """Scores of student and teacher for the same documents, shape (queries, documents).

    `rated` is true where both exist; elsewhere the scores are 0 and mean nothing. The positive of each
    query is in the column `positives`.
    """

    student: torch.Tensor
    teacher: torch.Tensor
    rated: torch.Tensor
    positives: torch.Tensor


def own_scores(batch: ScoredBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scores of each query's own candidates, shape as `candidates`, and which exist."""
    exist = batch.candidates >= 0
    return batch.scores.gather(1, batch.candidates.clamp(min=0)) * exist, exist


def rated(batch: ScoredBatch, over: Over) -> Rated:
    """Return what the teacher rated: each query's candidates, or all documents of the batch.

    NaN in the teacher's scores means that it did not rate the document. It is replaced before any
    arithmetic: a NaN that is only masked afterwards still makes the gradient NaN.
    """
    if over == "candidates":
        teacher, (student, known) = batch.teacher, own_scores(batch)
        positives = torch.zeros_like(batch.positives)
    else:
        teacher, student, positives = batch.in_batch_teacher, batch.scores, batch.positives
        known = torch.ones_like(student, dtype=torch.bool)
    if teacher is None:
        source = "the training data" if over == "candidates" else "a teacher in the loop"
        raise UserError(f"distillation over {over!r} needs teacher scores; give it those of {source}.")
    known = known & ~teacher.isnan()
    return Rated(student, torch.where(known, teacher, 0).to(student.dtype), known, positives)


def mean_where(values: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Return the mean of the kept values; where there are none, 0 that is still part of the graph."""
    return torch.where(kept, values, 0).sum() / kept.sum().clamp(min=1)


def above_zero(name: str, value: float) -> float:
    """Return a setting that must be above 0, or raise `UserError`."""
    if not value > 0:
        raise UserError(f"{name} is {value}; it must be above 0.")
    return value


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise `UserError` where a setting is none of its choices."""
    if value not in choices:
        raise UserError(f"{name} {value!r} is unknown; choose {', '.join(choices[:-1])} or {choices[-1]}.")
