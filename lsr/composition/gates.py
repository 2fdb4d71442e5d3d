"""Gates: what a side multiplies its importances by, learned."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from lsr.composition.vocabulary_head import vocabulary_weights


class GatingController(nn.Module):
    """SparTerm's gating controller (arXiv 2010.00768): which terms a text may have.

    A transform of the token states, started as the identity, is projected to the vocabulary by the
    importance predictor's own projection; the maximum over tokens, plus a bias a term, is a logit g,
    and the gate is 1 where g > 0. The text's own tokens are always let through. In training the
    gradient goes through sigmoid(g) (straight-through), so that the ranking loss reaches the
    controller; SparTerm trains it first, and apart, on the terms to expand.
    """

    def __init__(self, width: int, vocabulary_size: int) -> None:
        super().__init__()
        self.transform = nn.Linear(width, width)
        nn.init.eye_(self.transform.weight)
        nn.init.zeros_(self.transform.bias)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def forward(
        self, states: torch.Tensor, lengths: torch.Tensor, weight: torch.Tensor, own: torch.Tensor
    ) -> torch.Tensor:
        """Return the gate, 0 or 1, shape (texts, vocabulary).

        `states` (tokens, width) and `lengths` (texts,) are packed, `weight` (vocabulary, width) is
        the projection, `own` (texts, vocabulary) is 1 at the texts' own tokens.
        """
        transformed = self.transform(states.float()).to(weight.dtype)
        logits = _largest_logits(transformed, lengths, weight) + self.bias
        soft = torch.sigmoid(logits)
        hard = (logits > 0).float()
        return torch.maximum(hard + (soft - soft.detach()), own)


class ImportanceAndQuality(nn.Module):
    """EPIC's weights of tokens and of the text (arXiv 2004.14245).

    A token's importance is ln(1 + softplus(w . h + b)), above 0; a text's quality sigmoid(v . h + c)
    of its first token, between 0 and 1. A term weighs quality x max over tokens of importance x logit.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.importance = nn.Linear(width, 1)
        self.quality = nn.Linear(width, 1)

    def token_importance(self, states: torch.Tensor) -> torch.Tensor:
        """Return the importance of tokens, shape (tokens, 1), from states of shape (tokens, width)."""
        importance: torch.Tensor = self.importance(states)
        return functional.softplus(importance).log1p()

    def text_quality(self, first_states: torch.Tensor) -> torch.Tensor:
        """Return the quality of texts, shape (texts, 1), from states of shape (texts, width)."""
        quality: torch.Tensor = self.quality(first_states)
        return torch.sigmoid(quality)


def _largest_logits(states: torch.Tensor, lengths: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return vocabulary_weights(states, lengths, weight, None, pooling="max", activation="identity")
