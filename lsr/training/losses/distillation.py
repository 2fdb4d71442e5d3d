"""Distillation: the student learns a teacher's scores, as margins or as distributions."""

from __future__ import annotations

from typing import get_args

import torch

from lsr.training.batch import ScoredBatch
from lsr.training.losses.ranking import Over, RankingLoss, above_zero, mean_where, one_of, rated


class MarginMSE(RankingLoss):
    """MarginMSE (Hofstätter et al., arXiv 2010.02666).

    Mean over pairs of the positive and another document n of ((s+ - s_n) - scale (t+ - t_n))^2, with s
    the student's scores and t the teacher's. `over`: n runs over the query's own negatives
    (``candidates``) or over all other documents of the batch (``batch``, with a teacher in the loop).
    `scale` brings the teacher to the student's range. Documents without a teacher score are left out,
    with the whole query where it is the positive.
    """

    def __init__(self, scale: float = 1.0, over: Over = "candidates") -> None:
        super().__init__()
        one_of("over", over, get_args(Over))
        self.scale = above_zero("scale", scale)
        self.over: Over = over

    def forward(self, batch: ScoredBatch) -> torch.Tensor:
        """Return the loss of a scored batch."""
        student, teacher, known, positives = rated(batch, self.over)
        if not known.numel():
            return student.sum()
        columns = positives[:, None]
        pairs = (known & known.gather(1, columns)).scatter(1, columns, False)
        student_margins = student.gather(1, columns) - student
        teacher_margins = teacher.gather(1, columns) - teacher
        return mean_where((student_margins - self.scale * teacher_margins).square(), pairs)


class KLDivergence(RankingLoss):
    """KL distillation: mean over queries of sum_d p_T(d) (ln p_T(d) - ln p_S(d)).

    p_S is the softmax of the student's scores over `temperature`, p_T that of the teacher's over
    `teacher_temperature` (by default the same), both over the documents that the teacher rated:
    the query's own candidates (``over: candidates``; Efficient SPLADE, SPLADE-v3, arXiv 2403.06789) or
    all documents of the batch (``over: batch``). Queries with fewer than two rated documents have
    nothing to say and do not count. `scale` multiplies the loss; temperature^2 keeps gradients of
    one size as the temperature changes (Hinton et al., arXiv 1503.02531).
    """

    def __init__(
        self,
        temperature: float = 1.0,
        teacher_temperature: float | None = None,
        scale: float = 1.0,
        over: Over = "candidates",
    ) -> None:
        super().__init__()
        one_of("over", over, get_args(Over))
        self.temperature = above_zero("temperature", temperature)
        if teacher_temperature is None:
            teacher_temperature = temperature
        self.teacher_temperature = above_zero("teacher_temperature", teacher_temperature)
        self.scale = above_zero("scale", scale)
        self.over: Over = over

    def forward(self, batch: ScoredBatch) -> torch.Tensor:
        """Return the loss of a scored batch."""
        student, teacher, known, _ = rated(batch, self.over)
        counted = known.sum(1) >= 2
        # A lowest finite score in place of -inf: it gets no probability, and 0 ln 0 no NaN.
        lowest = torch.finfo(student.dtype).min
        student_log = (student / self.temperature).masked_fill(~known, lowest).log_softmax(1)
        teacher_log = (teacher / self.teacher_temperature).masked_fill(~known, lowest).log_softmax(1)
        terms = torch.where(known, teacher_log.exp() * (teacher_log - student_log), 0)
        return self.scale * mean_where(terms.sum(1), counted)
