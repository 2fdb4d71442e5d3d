"""From pairs to a batch: which documents it holds and whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from lsr.training.pairs import Pair
from lsr.training.sampling import SamplingPlan


class TextBatch(NamedTuple):
    """The texts of a whole batch, all processes together.

    `documents` are all different: two queries with the same positive share its column, so that
    neither takes the other's for a negative. `candidates` and `teacher` are as in
    `lsr.training.batch.ScoredBatch`.
    """

    queries: list[str]
    documents: list[str]
    positives: torch.Tensor
    candidates: torch.Tensor
    teacher: torch.Tensor | None


def collate(pairs: Sequence[Pair]) -> TextBatch:
    """Return the batch of some pairs; a query's own negatives that equal its positive are dropped."""
    columns: dict[str, int] = {}
    rows: list[list[int]] = []
    scores: list[list[float]] = []
    for pair in pairs:
        texts = [pair.positive, *pair.negatives]
        own = [columns.setdefault(text, len(columns)) for text in texts]
        kept = [place for place, column in enumerate(own) if place == 0 or column != own[0]]
        rows.append([own[place] for place in kept])
        given = pair.scores if pair.scores is not None else (float("nan"),) * len(texts)
        scores.append([given[place] for place in kept])
    width = max(len(row) for row in rows)
    candidates = torch.tensor([row + [-1] * (width - len(row)) for row in rows], dtype=torch.int64)
    teacher = torch.tensor([row + [float("nan")] * (width - len(row)) for row in scores])
    return TextBatch(
        queries=[pair.query for pair in pairs],
        documents=list(columns),
        positives=candidates[:, 0].clone(),
        candidates=candidates,
        teacher=None if bool(teacher.isnan().all()) else teacher,
    )


@dataclass(frozen=True)
class BatchDataset(Dataset[TextBatch]):
    """Batches by number, as a `SamplingPlan` lays them out.

    A pair with more than `negatives` hard negatives brings as many of them, drawn anew for each batch.
    """

    sources: Sequence[Sequence[Pair]]
    plan: SamplingPlan
    negatives: int
    max_characters: int
    seed: int

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, number: int) -> TextBatch:
        random = np.random.default_rng((self.seed, 2, number))
        return collate(
            [self._prepared(self.sources[source][row], random) for source, row in self.plan.batch(number)]
        )

    def _prepared(self, pair: Pair, random: np.random.Generator) -> Pair:
        negatives, scores = pair.negatives, pair.scores
        if len(negatives) > self.negatives:
            kept = np.sort(random.choice(len(negatives), size=self.negatives, replace=False)).tolist()
            negatives = tuple(negatives[place] for place in kept)
            if scores is not None:
                scores = (scores[0], *(scores[1 + place] for place in kept))
        limit = self.max_characters
        return Pair(
            pair.query[:limit], pair.positive[:limit], tuple(text[:limit] for text in negatives), scores
        )
