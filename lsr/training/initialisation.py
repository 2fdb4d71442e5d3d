"""A look at the encoder before the first step: does it start where training can succeed?

Some backbones' heads give every text nearly the same, dense vector; others give none at all. Both
train to nothing, after hours: sentence-transformers issue 3431 reports the first for roberta-large
models. What is measured tells them apart from a start that is merely dense.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from lsr.composition.types import TrainableEncoder
from lsr.errors import UserError

_SAMPLE = 32
# Texts that differ are this alike, and hold this share of the vocabulary, only where a head has collapsed.
_SAME = 0.99
_DENSE = 0.25

_SKIP = "--set training.check_initialisation=false trains all the same"


@dataclass(frozen=True, slots=True)
class InitialisationReport:
    """What an untrained encoder makes of a sample of documents."""

    mean_activation: float
    """Mean of the weights above 0."""
    terms: float
    """Mean number of terms a document."""
    cosine: float
    """Mean cosine of two different documents' weights."""
    empty: float
    """Share of documents without a term."""
    vocabulary: int

    def __str__(self) -> str:
        return (
            f"{self.terms:,.0f} of {self.vocabulary:,} terms a document, mean weight {self.mean_activation:.3g}, "
            f"cosine of two documents {self.cosine:.2f}"
        )


@torch.no_grad()
def measure_initialisation(encoder: TrainableEncoder, documents: Sequence[str]) -> InitialisationReport:
    """Encode up to 32 different documents and return what came of it."""
    sample = list(dict.fromkeys(documents))[:_SAMPLE]
    device = next(encoder.module.parameters()).device
    training = encoder.module.training
    encoder.module.eval()
    parts = [
        encoder.document_side(
            encoder.tokenize_documents(sample[first : first + 8]).to(device)
        ).weights.float()
        for first in range(0, len(sample), 8)
    ]
    encoder.module.train(training)
    weights = torch.cat(parts)
    active = weights > 0
    directions = functional.normalize(weights, dim=1)
    alike = directions @ directions.t()
    pairs = max(len(sample) * (len(sample) - 1), 1)
    return InitialisationReport(
        mean_activation=float(weights.sum() / active.sum().clamp(min=1)),
        terms=float(active.sum(1).float().mean()),
        cosine=float((alike.sum() - alike.diagonal().sum()) / pairs),
        empty=float((~active.any(1)).float().mean()),
        vocabulary=weights.shape[1],
    )


def check_initialisation(report: InitialisationReport) -> None:
    """Raise `UserError`, with advice, where training would collapse."""
    if not report.mean_activation < float("inf"):
        raise UserError(
            "The untrained encoder gives weights that are not finite; load it in float32 "
            "(model.document.precision) or take another backbone."
        )
    if report.empty > 0.5:
        raise UserError(
            f"The untrained encoder gives {report.empty:.0%} of documents no term at all, so nothing would be "
            "learned: its head's biases are too low, or its backbone has no trained masked-language-model head. "
            f"Take such a backbone or the activation softplus; {_SKIP}."
        )
    if report.cosine > _SAME and report.terms > _DENSE * report.vocabulary:
        raise UserError(
            f"The untrained encoder gives all documents nearly the same dense vector ({report}): training "
            "from here collapses. Take a backbone with a trained masked-language-model head, or warm up longer with "
            f"a lower training.learning_rate and an anti-collapse loss; {_SKIP}."
        )
