"""The IDF-aware FLOPS loss of inference-free retrieval, in its three readings."""

from __future__ import annotations

from typing import Literal

import torch

from lsr.errors import UserError
from lsr.training.losses.sparsity import SparsityLoss, flops

Reading = Literal["matching", "code", "inverse"]


class IDFAwareFLOPS(SparsityLoss):
    """IDF-aware FLOPS (Towards Competitive Search Relevance, arXiv 2411.04403), as `reading` says.

    An inference-free query holds idf_j for each of its terms, so a document scores
    sum_(j in q) idf_j d_j = sum_(j in q) d'_j with d'_j = idf_j d_j: what the query matches is d'.
    The paper and the code released with it do not say the same, and later versions of the paper
    changed the wording, so the choice is named:

    - ``matching``, the first version's wording, an IDF-aware FLOPS loss, read as FLOPS of the weights
      that take part in matching: sum_j (1/N sum_i idf_j d_ij)^2. Rare terms are pressed hardest, by
      idf_j^2.
    - ``code``, the released trainer: FLOPS of the raw weights, sum_j (1/N sum_i d_ij)^2, with IDF in
      the score alone. In terms of what is matched it is sum_j (1/N sum_i d'_ij / idf_j)^2: a term
      of low IDF gets little gradient from ranking and the same pressure as any other, so it goes
      first. The value is that of `FLOPS`; what makes it aware of IDF is the query side.
    - ``inverse``: FLOPS with frequent terms pressed harder outright,
      sum_j 1 / (idf_j + offset) (1/N sum_i d_ij)^2. No paper's; it trained this project's interim
      models. `offset` bounds the weight of terms that every document holds.

    `idf`: shape (vocabulary,), finite, at least 0; it is a constant of the loss even where the query
    side learns its table. `group_size`: see `lsr.training.losses.sparsity.flops`.
    """

    term_weights: torch.Tensor

    def __init__(
        self, idf: torch.Tensor, reading: Reading = "code", offset: float = 0.3, group_size: int = 1
    ) -> None:
        super().__init__()
        idf = idf.detach().clone()
        if idf.ndim != 1 or not bool(torch.isfinite(idf).all()) or bool((idf < 0).any()):
            raise UserError("the IDF table of the sparsity loss must be finite and at least 0 for each term.")
        if group_size < 1:
            raise UserError(f"group_size is {group_size}; it must be 1 or more.")
        if reading == "matching":
            term_weights = idf.square()
        elif reading == "code":
            term_weights = torch.ones_like(idf)
        elif reading == "inverse":
            if not offset > 0:
                raise UserError(f"offset is {offset}; it must be above 0.")
            term_weights = 1 / (idf + offset)
        else:
            raise UserError(f"reading {reading!r} is unknown; choose matching, code or inverse.")
        self.reading = reading
        self.group_size = group_size
        # Rebuilt from the IDF table, so no part of a checkpoint.
        self.register_buffer("term_weights", term_weights, persistent=False)

    def forward(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the loss of the documents' raw weights d, not yet multiplied by IDF."""
        return flops(weights, term_weights=self.term_weights, group_size=self.group_size)
