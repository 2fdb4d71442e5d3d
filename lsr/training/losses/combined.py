"""Weighted sums of losses that report their parts by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from lsr.errors import UserError
from lsr.training.batch import ScoredBatch
from lsr.training.losses.ranking import RankingLoss
from lsr.training.losses.sparsity import SparsityLoss
from lsr.training.schedules import Schedule, State


class LossSum(NamedTuple):
    """A sum of losses.

    `total` has gradients; `parts` are the losses by name before weighting, without; `weights` are what
    they were multiplied by.
    """

    total: torch.Tensor
    parts: dict[str, torch.Tensor]
    weights: dict[str, float]


class CombinedRankingLoss(nn.Module):
    """sum_k weight_k loss_k over the ranking losses of a batch."""

    losses: nn.ModuleDict

    def __init__(self, losses: Mapping[str, RankingLoss], weights: Mapping[str, float]) -> None:
        super().__init__()
        if not losses:
            raise UserError("there is no ranking loss; name at least one.")
        self.losses = nn.ModuleDict(losses)
        self.weights = {name: float(weights[name]) for name in losses}

    def forward(self, batch: ScoredBatch) -> LossSum:
        """Return the sum of the losses of a scored batch."""
        parts = {name: loss(batch) for name, loss in self.losses.items()}
        total = torch.stack([self.weights[name] * part for name, part in parts.items()]).sum()
        return LossSum(total, {name: part.detach() for name, part in parts.items()}, dict(self.weights))


class SparsityTerm(NamedTuple):
    """A sparsity loss and its weight over the steps."""

    loss: SparsityLoss
    schedule: Schedule


class SparsityPenalty(nn.Module):
    """The sparsity losses of queries and documents, each with a schedule of its own.

    Parts are named ``queries/NAME`` and ``documents/NAME``. The schedules' state is part of the module's
    `state_dict`, beside the document frequencies of DF-FLOPS, so resuming goes on exactly.
    """

    def __init__(self, queries: Mapping[str, SparsityTerm], documents: Mapping[str, SparsityTerm]) -> None:
        super().__init__()
        sides = {"queries": queries, "documents": documents}
        self.losses = nn.ModuleDict(
            {side: nn.ModuleDict({name: term.loss for name, term in sides[side].items()}) for side in sides}
        )
        self.schedules = {side: {name: term.schedule for name, term in sides[side].items()} for side in sides}

    def forward(
        self, step: int, query_weights: torch.Tensor | None, document_weights: torch.Tensor
    ) -> LossSum:
        """Return the sum at a step, counted from 0; queries without weights to train are None."""
        total = document_weights.new_zeros(())
        parts: dict[str, torch.Tensor] = {}
        factors: dict[str, float] = {}
        for side, weights in (("queries", query_weights), ("documents", document_weights)):
            if weights is None:
                continue
            for name, schedule in self.schedules[side].items():
                key = f"{side}/{name}"
                loss = self.losses[side].get_submodule(name)(weights)
                factors[key] = schedule.value(step)
                parts[key] = loss.detach()
                # A loss that is off may be infinite, and 0 times that no number.
                total = total + factors[key] * loss if factors[key] else total
        return LossSum(total, parts, factors)

    def observe(self, step: int, query_terms: float, document_terms: float) -> None:
        """Take the mean number of terms of the step's queries and documents, of all processes."""
        for side, terms in (("queries", query_terms), ("documents", document_terms)):
            for schedule in self.schedules[side].values():
                schedule.observe(step, terms)

    def get_extra_state(self) -> dict[str, State]:
        """Return the schedules' state, for `state_dict`."""
        return {
            f"{side}/{name}": schedule.state_dict()
            for side, schedules in self.schedules.items()
            for name, schedule in schedules.items()
        }

    def set_extra_state(self, state: Mapping[str, State]) -> None:
        """Take the schedules' state, for `load_state_dict`."""
        for side, schedules in self.schedules.items():
            for name, schedule in schedules.items():
                schedule.load_state_dict(state[f"{side}/{name}"])
