"""Several teachers as one, on batches that processes share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch

from lsr.training.collation import TextBatch
from lsr.training.losses.ensemble import ensemble
from lsr.training.losses.gather import gather_rows
from lsr.training.settings import DistillationSettings, TeacherSettings
from lsr.training.sharing import own_share
from lsr.training.teachers.base import Teacher
from lsr.training.teachers.loading import load_teacher


class TeacherScores(NamedTuple):
    """Scores of a batch: of each query's candidates, and of all documents where those were rated."""

    candidates: torch.Tensor
    in_batch: torch.Tensor | None


class TeacherPanel:
    """The heterogeneous ensemble of arXiv 2411.04403, or one teacher.

    Each process rates its share of the documents, and shares are gathered before scores are
    normalised, so the result does not depend on the number of processes.
    """

    def __init__(
        self, teachers: Sequence[Teacher], weights: Sequence[float], settings: DistillationSettings
    ) -> None:
        self._teachers = teachers
        self._weights = list(weights)
        self._settings = settings

    @classmethod
    def load(
        cls,
        teachers: Sequence[TeacherSettings],
        settings: DistillationSettings,
        documents: Callable[[], Iterable[str]],
        device: str | None = None,
    ) -> TeacherPanel:
        """Load the teachers of a configuration; `documents` are those of the training data."""
        loaded = [load_teacher(teacher, documents, device) for teacher in teachers]
        return cls(loaded, [teacher.weight for teacher in teachers], settings)

    @torch.no_grad()
    def score(self, batch: TextBatch, device: torch.device) -> TeacherScores:
        """Return the panel's scores of a whole batch, on `device`."""
        exist = batch.candidates >= 0
        wanted = torch.ones(len(batch.queries), len(batch.documents), dtype=torch.bool)
        if self._settings.score == "candidates":
            rows = torch.arange(len(batch.queries))[:, None].expand_as(exist)
            wanted = torch.zeros_like(wanted)
            wanted[rows[exist], batch.candidates[exist]] = True
        share = own_share(len(batch.documents))
        own = batch.documents[share]
        scores = []
        for teacher in self._teachers:
            rated = torch.from_numpy(teacher.score(batch.queries, own, wanted[:, share].numpy()))
            scores.append(gather_rows(rated.t().contiguous().to(device)).t())
        wanted = wanted.to(device)
        if self._settings.normalise == "min-max":
            total = ensemble(scores, scale=self._settings.scale, weights=self._weights, mask=wanted)
        else:
            mean = sum(weight * s for weight, s in zip(self._weights, scores, strict=True))
            total = torch.where(wanted, self._settings.scale * mean / sum(self._weights), torch.nan)
        places = batch.candidates.to(device)
        candidates = torch.where(places >= 0, total.gather(1, places.clamp(min=0)), torch.nan)
        return TeacherScores(candidates, total if self._settings.score == "in-batch" else None)
