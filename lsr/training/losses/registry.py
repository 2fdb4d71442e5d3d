"""Losses and schedules by name, built from the mappings of a configuration file.

    ranking:
      kl: 1
      margin-mse: {weight: 0.05, scale: 1}
    sparsity:
      queries:
        l1: 0.0005
      documents:
        l0-flops: {weight: 0.08, threshold: 150, schedule: {name: quadratic, steps: 40000}}
        anti-collapse: 1

A key names the loss; where one loss is wanted twice, keys are any names and ``name`` says which loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from lsr.errors import UserError
from lsr.training.losses.combined import CombinedRankingLoss, SparsityPenalty, SparsityTerm
from lsr.training.losses.contrastive import InBatchPairwiseNLL, InfoNCE, NegativeLikelihood, PairwiseNLL
from lsr.training.losses.df_flops import DFFLOPS
from lsr.training.losses.distillation import KLDivergence, MarginMSE
from lsr.training.losses.idf_flops import IDFAwareFLOPS
from lsr.training.losses.ranking import RankingLoss
from lsr.training.losses.settings import construct, number
from lsr.training.losses.sparsity import FLOPS, L1, AntiCollapse, L0MaskedFLOPS, SparsityLoss
from lsr.training.losses.term_regression import TermMSE
from lsr.training.schedules import Constant, Linear, Quadratic, Schedule, TargetTerms

Config = Mapping[str, Any]

RANKING_LOSSES: dict[str, Callable[..., RankingLoss]] = {
    "infonce": InfoNCE,
    "pairwise-nll": PairwiseNLL,
    "in-batch-pairwise-nll": InBatchPairwiseNLL,
    "negative-likelihood": NegativeLikelihood,
    "margin-mse": MarginMSE,
    "kl": KLDivergence,
}

RANKING_MIXES: dict[str, Config] = {
    # SPLADE-v3 (arXiv 2403.06789).
    "splade-v3": {"kl": 1.0, "margin-mse": 0.05},
}

SPARSITY_LOSSES: dict[str, Callable[..., SparsityLoss]] = {
    "flops": FLOPS,
    "l1": L1,
    "idf-flops": IDFAwareFLOPS,
    "l0-flops": L0MaskedFLOPS,
    "df-flops": DFFLOPS,
    "anti-collapse": AntiCollapse,
}

# These see weights and texts, not scores, so they are no part of a sum of ranking losses.
TERM_LOSSES: dict[str, Callable[..., TermMSE]] = {"term-mse": TermMSE}

SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": Constant,
    "linear": Linear,
    "quadratic": Quadratic,
    "target-terms": TargetTerms,
}


def ranking_loss(name: str, **settings: Any) -> RankingLoss:
    """Return one ranking loss by name."""
    return construct("ranking loss", RANKING_LOSSES, {**settings, "name": name})


def build_ranking_loss(config: Config | str) -> CombinedRankingLoss:
    """Return the weighted sum of ranking losses of a configuration.

    `config`: by name, a weight or options with ``weight`` (1 by default) among them; or a string,
    the name of one loss or of a mix in `RANKING_MIXES`.
    """
    if isinstance(config, str):
        config = RANKING_MIXES.get(config, {config: 1.0})
    losses: dict[str, RankingLoss] = {}
    weights: dict[str, float] = {}
    for key, entry in config.items():
        settings = _settings("ranking loss", key, entry)
        weights[key] = number(f"ranking loss {key!r}: weight", settings.pop("weight", 1.0))
        losses[key] = construct("ranking loss", RANKING_LOSSES, settings)
    return CombinedRankingLoss(losses, weights)


def sparsity_loss(
    name: str, *, idf: torch.Tensor | None = None, vocabulary_size: int | None = None, **settings: Any
) -> SparsityLoss:
    """Return one sparsity loss by name.

    `idf`: the IDF table, shape (vocabulary,), which ``idf-flops`` needs; `vocabulary_size`: needed by
    ``df-flops``.
    """
    return build_sparsity_loss({**settings, "name": name}, idf=idf, vocabulary_size=vocabulary_size)


def build_sparsity_loss(
    config: Config | str, *, idf: torch.Tensor | None = None, vocabulary_size: int | None = None
) -> SparsityLoss:
    """Return one sparsity loss of a configuration: its ``name`` and options."""
    given = {"idf": idf, "vocabulary_size": vocabulary_size}
    return construct("sparsity loss", SPARSITY_LOSSES, config, given)


def build_term_loss(config: Config | str) -> TermMSE:
    """Return the regression of term weights of a configuration: its ``name`` and options."""
    return construct("term loss", TERM_LOSSES, config)


def build_schedule(config: Config | str, *, total_steps: int | None = None) -> Schedule:
    """Return the schedule of a configuration: its ``name`` and options.

    In place of ``steps``, ``share`` gives them as a share of the training's `total_steps`.
    """
    settings: dict[str, Any] = {"name": config} if isinstance(config, str) else dict(config)
    if "share" in settings:
        share = number("share of a schedule", settings.pop("share"))
        if total_steps is None or "steps" in settings or not 0 < share <= 1:
            raise UserError(
                f"the share {share:g} of a schedule must be above 0 and at most 1, stand alone without steps, "
                "and the training must have a known number of steps; give steps instead."
            )
        settings["steps"] = max(1, round(share * total_steps))
    return construct("schedule", SCHEDULES, settings)


def build_sparsity_penalty(
    config: Config,
    *,
    idf: torch.Tensor | None = None,
    vocabulary_size: int | None = None,
    total_steps: int | None = None,
) -> SparsityPenalty:
    """Return the sparsity losses of both sides, with schedules, of a configuration.

    `config`: ``queries`` and ``documents``, each by name a weight or the loss's options with ``weight`` and
    ``schedule`` (a name or a mapping, ``constant`` by default) among them. The weight may stand in the
    schedule as well; ``target-terms`` has none, it has ``terms``.
    """
    sides: dict[str, dict[str, SparsityTerm]] = {"queries": {}, "documents": {}}
    for side, entries in config.items():
        if side not in sides:
            raise UserError(f"sparsity has no side {side!r}; choose queries or documents.")
        for key, entry in (entries or {}).items():
            settings = _settings("sparsity loss", key, entry)
            schedule = settings.pop("schedule", "constant")
            schedule = {"name": schedule} if isinstance(schedule, str) else dict(schedule)
            if "weight" in settings:
                schedule["weight"] = settings.pop("weight")
            sides[side][key] = SparsityTerm(
                build_sparsity_loss(settings, idf=idf, vocabulary_size=vocabulary_size),
                build_schedule(schedule, total_steps=total_steps),
            )
    return SparsityPenalty(**sides)


def _settings(what: str, key: str, entry: Any) -> dict[str, Any]:
    """Return a loss's entry as settings with its name; a bare number is its weight."""
    if "." in key or hasattr(nn.ModuleDict, key):
        raise UserError(f"{what} {key!r}: a loss cannot be reported by this name; use another and add name.")
    if entry is None:
        entry = {}
    elif not isinstance(entry, Mapping):
        entry = {"weight": number(f"the weight of {what} {key!r}", entry)}
    return {"name": key, **entry}
