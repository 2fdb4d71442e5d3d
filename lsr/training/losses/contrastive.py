"""Contrastive losses: the positive against other documents, without a teacher."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from lsr.errors import UserError
from lsr.training.batch import ScoredBatch
from lsr.training.losses.ranking import RankingLoss, above_zero, mean_where, one_of, own_scores

Negatives = Literal["all", "others-negatives", "others-positives", "own"]


def negatives_mask(batch: ScoredBatch, negatives: Negatives) -> torch.Tensor:
    """Return which documents are negatives of which query, bool, shape (queries, documents).

    - ``all``: every document of the batch but the query's positive;
    - ``others-negatives``: as ``all``, without the positives of other queries, as in OpenSearch's
      InfoNCE;
    - ``others-positives``: the positives of other queries and the query's own negatives, as in SPLADE;
    - ``own``: the query's own negatives alone.

    A document that stands in one column for several queries is treated by what it is to each: a
    query's own candidate stays its negative although it is another query's positive.
    """
    queries, documents = batch.scores.shape
    positive = torch.zeros((queries, documents), dtype=torch.bool, device=batch.scores.device)
    positive.scatter_(1, batch.positives[:, None], True)
    # Columns past the end collect the -1 of missing candidates.
    own = torch.zeros((queries, documents + 1), dtype=torch.bool, device=batch.scores.device)
    own.scatter_(1, torch.where(batch.candidates < 0, documents, batch.candidates), True)
    own = own[:, :documents]
    if negatives == "own":
        mask = own
    elif negatives == "others-positives":
        mask = own | positive.any(0)
    elif negatives == "others-negatives":
        mask = own | ~positive.any(0)
    else:
        mask = torch.ones_like(own)
    return mask & ~positive


def false_negatives(batch: ScoredBatch, margin: float) -> torch.Tensor:
    """Return the documents that the teacher puts at least at the positive's score minus `margin`.

    Bool, shape (queries, documents); the positive itself is among them. The teacher in the loop is
    asked where there is one, else the scores of the candidates. What the teacher did not rate is no
    false negative.
    """
    if batch.in_batch_teacher is not None:
        teacher = batch.in_batch_teacher
        return teacher >= teacher.gather(1, batch.positives[:, None]) - margin
    if batch.teacher is None:
        raise UserError("false_negative_margin needs teacher scores; add a teacher, or leave the margin out.")
    queries, documents = batch.scores.shape
    high = (batch.teacher >= batch.teacher[:, :1] - margin) & (batch.candidates >= 0)
    found = torch.zeros((queries, documents + 1), dtype=torch.bool, device=batch.scores.device)
    found.scatter_(1, torch.where(high, batch.candidates, documents), True)
    return found[:, :documents]


class InfoNCE(RankingLoss):
    """InfoNCE (arXiv 1807.03748): mean over queries of -ln(e^(s+/T) / (e^(s+/T) + sum_n e^(s_n/T))).

    `negatives`: which documents n are, see `negatives_mask`. `temperature`: T. `symmetric`: the mean of
    that and of the same from the document's side, each positive against the other queries (a query
    with the same positive is none of them). `false_negative_margin`: negatives that the teacher puts at
    the positive's score minus this margin or higher are left out, duplicates of the positive among
    them (the filter of GISTEmbed, arXiv 2402.16829, which has margin 0).
    """

    def __init__(
        self,
        temperature: float = 1.0,
        negatives: Negatives = "all",
        symmetric: bool = False,
        false_negative_margin: float | None = None,
    ) -> None:
        super().__init__()
        one_of("negatives", negatives, get_args(Negatives))
        self.temperature = above_zero("temperature", temperature)
        self.negatives: Negatives = negatives
        self.symmetric = symmetric
        self.false_negative_margin = false_negative_margin

    def forward(self, batch: ScoredBatch) -> torch.Tensor:
        """Return the loss of a scored batch."""
        if not batch.scores.numel():
            return batch.scores.sum()
        scores = batch.scores / self.temperature
        mask = negatives_mask(batch, self.negatives)
        if self.false_negative_margin is not None:
            mask &= ~false_negatives(batch, self.false_negative_margin)
        columns = batch.positives[:, None]
        positive = scores.gather(1, columns).squeeze(1)
        compared = mask.scatter(1, columns, True)
        loss = (scores.masked_fill(~compared, -torch.inf).logsumexp(1) - positive).mean()
        if not self.symmetric:
            return loss
        # Row p: the scores of query p's positive with all queries.
        transposed = scores.t()[batch.positives]
        same = batch.positives[:, None] == batch.positives[None, :]
        same.fill_diagonal_(False)
        other_way = (transposed.masked_fill(same, -torch.inf).logsumexp(1) - positive).mean()
        return (loss + other_way) / 2


class PairwiseNLL(InfoNCE):
    """SPLADE's NLL of the positive among the query's own candidates: InfoNCE with its own negatives."""

    def __init__(self, temperature: float = 1.0, false_negative_margin: float | None = None) -> None:
        super().__init__(temperature, negatives="own", false_negative_margin=false_negative_margin)


class InBatchPairwiseNLL(InfoNCE):
    """SPLADE v1's ranking loss (arXiv 2107.05720).

    The NLL of the positive against the query's own negatives (one of BM25's in the paper) and the
    positives of the other queries, not their negatives.
    """

    def __init__(self, temperature: float = 1.0, false_negative_margin: float | None = None) -> None:
        super().__init__(
            temperature, negatives="others-positives", false_negative_margin=false_negative_margin
        )


class NegativeLikelihood(RankingLoss):
    """Pairwise softmax cross-entropy: mean over pairs (q, n) of -ln(e^(s+) / (e^(s+) + e^(s_n))).

    Each of the query's own negatives makes a pair with the positive by itself, with scores over
    `temperature`; the loss of EPIC (arXiv 2004.14245) and DeepImpact (arXiv 2104.12016).
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = above_zero("temperature", temperature)

    def forward(self, batch: ScoredBatch) -> torch.Tensor:
        """Return the loss of a scored batch."""
        scores, exist = own_scores(batch)
        margins = (scores[:, :1] - scores[:, 1:]) / self.temperature
        return mean_where(torch.nn.functional.softplus(-margins), exist[:, 1:])
