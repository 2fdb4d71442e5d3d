"""Sparsity losses: what keeps term weights few and postings lists short.

Each takes the weights of one side of a batch, shape (texts, vocabulary), at least 0, and returns a
scalar. The FLOPS family shares one form,

    sum_j c_j (1/N sum_i m_i |w_ij|)^2,

in which c weighs the terms, m leaves out texts, and N counts all texts of the batch, those left
out included. N must be the whole batch's, across processes: see `lsr.training.losses.gather`.
"""

from __future__ import annotations

import torch
from torch import nn

from lsr.errors import UserError

_HALF = (torch.float16, torch.bfloat16)


class SparsityLoss(nn.Module):
    """What all sparsity losses are: weights, shape (texts, vocabulary), to a scalar."""

    def forward(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the loss of one side's term weights."""
        raise NotImplementedError


def flops(
    weights: torch.Tensor,
    *,
    term_weights: torch.Tensor | None = None,
    kept: torch.Tensor | None = None,
    group_size: int = 1,
) -> torch.Tensor:
    """Return sum_j c_j (1/N sum_i m_i |w_ij|)^2; a batch without texts has loss 0.

    `term_weights`: c, shape (vocabulary,). `kept`: m, bool, shape (texts,). With `group_size` g the
    rows are g texts a query, query after query; the mean is taken over queries for each of the g
    places by itself and the places' losses are added, so that a positive and the hard negatives of
    the same query, which share their terms, do not count as those terms' being frequent (OpenSearch's
    trainer, arXiv 2411.04403).
    """
    weights = full_precision(weights)
    texts, vocabulary = weights.shape
    if group_size != 1 and texts % group_size:
        raise UserError(
            f"group_size {group_size} does not divide the batch's {texts} texts; give every query the "
            "same number of documents, or set group_size to 1."
        )
    if kept is not None:
        weights = torch.where(kept[:, None], weights, 0)
    grouped = weights.view(texts // group_size, group_size, vocabulary)
    # The sum of an empty batch is 0 and stays in the graph; its mean would be NaN.
    means = grouped.abs().sum(0) / max(len(grouped), 1)
    squares = means.square() if term_weights is None else means.square() * term_weights.to(means)
    return squares.sum()


def full_precision(weights: torch.Tensor) -> torch.Tensor:
    """Return half precision as float32: a sum of squares over a vocabulary overflows or rounds away."""
    return weights.float() if weights.dtype in _HALF else weights


def active_terms(weights: torch.Tensor) -> torch.Tensor:
    """Return the number of non-zero weights of each text, int64, without gradients."""
    return torch.count_nonzero(weights.detach(), dim=1)


class FLOPS(SparsityLoss):
    """FLOPS (Paria et al. 2020, arXiv 2004.05665): sum_j (1/N sum_i |w_ij|)^2.

    The square of a term's mean weight is a smooth stand-in for the expected number of
    multiplications of two texts' dot product, sum_j p_j^2: it spreads terms over the vocabulary
    as well as making them few. SPLADE's regulariser (arXiv 2107.05720).
    `group_size`: see `flops`.
    """

    def __init__(self, group_size: int = 1) -> None:
        super().__init__()
        self.group_size = _positive("group_size", group_size)

    def forward(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the loss of one side's term weights."""
        return flops(weights, group_size=self.group_size)


class L1(SparsityLoss):
    """L1: 1/N sum_i sum_j |w_ij|, which Efficient SPLADE puts on queries (arXiv 2207.03834)."""

    def forward(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the loss of one side's term weights."""
        return full_precision(weights).abs().sum() / max(len(weights), 1)


class L0MaskedFLOPS(SparsityLoss):
    """FLOPS with the l0 mask loss (arXiv 2504.14839): sum_j (1/N sum_i [||w_i||_0 > t] |w_ij|)^2.

    A text with at most `threshold` terms is sparse enough and is left alone; N counts it all the same.
    The paper trains with t = 150. `group_size`: see `flops`.
    """

    def __init__(self, threshold: int = 150, group_size: int = 1) -> None:
        super().__init__()
        if threshold < 0:
            raise UserError(f"threshold is {threshold}; it must be 0 or more terms.")
        self.threshold = threshold
        self.group_size = _positive("group_size", group_size)

    def forward(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the loss of one side's term weights."""
        kept = active_terms(weights) > self.threshold
        return flops(weights, kept=kept, group_size=self.group_size)


class AntiCollapse(SparsityLoss):
    """The guard against empty vectors of naver/splade's trainer: 1 / (sum_ij w_ij)^2.

    There it is written 1/(sum q)^2 + 1/(sum d)^2: put it on both sides. It is next to nothing while
    there are weights and grows without bound as the last of them vanish. `epsilon` is added to the sum
    so that a batch of zeros has a large, finite loss and gradient.
    """

    def __init__(self, epsilon: float = 0.01) -> None:
        super().__init__()
        if not epsilon > 0:
            raise UserError(f"epsilon is {epsilon}; it must be above 0.")
        self.epsilon = epsilon

    def forward(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the loss of one side's term weights."""
        return (full_precision(weights).abs().sum() + self.epsilon) ** -2


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise UserError(f"{name} is {value}; it must be 1 or more.")
    return value
