"""What ranking losses see of a training batch."""

from __future__ import annotations

from typing import NamedTuple

import torch


class ScoredBatch(NamedTuple):
    """Scores of a batch of queries against all documents of the batch.

    `scores`: the student's, float32, shape (queries, documents), with gradients.
    `positives`: int64, shape (queries,), the column of each query's positive.
    `candidates`: int64, shape (queries, candidates), the columns of each query's own documents, the
    positive first, then its negatives; -1 where a query has fewer.
    `teacher`: float32 scores of the candidates, shape as `candidates`, NaN where there are none; or
    None.
    `in_batch_teacher`: float32 scores of all documents, shape as `scores`, from teachers in the
    loop; or None.
    """

    scores: torch.Tensor
    positives: torch.Tensor
    candidates: torch.Tensor
    teacher: torch.Tensor | None = None
    in_batch_teacher: torch.Tensor | None = None
