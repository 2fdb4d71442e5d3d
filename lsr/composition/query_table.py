"""Query weights from a table: fixed, learnable or learned, each distinct piece of a query once."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from lsr.composition.own_tokens import bag_of_tokens
from lsr.composition.settings import QuerySettings
from lsr.composition.types import SideOutput, TokenBatch

# softplus of this is 1.
_ONE = math.log(math.e - 1)


class QueryTable(nn.Module):
    """The query side of inference-free encoders: q_j = t_j where the query holds piece j, else 0.

    ``binary``: t_j = 1 (SPLADE-doc, arXiv 2109.10086). ``idf``: t_j is an IDF (arXiv 2411.04403),
    a constant, or where learnable relu of a parameter that starts there. ``table``: t_j is the
    softplus of a parameter (Li-LSR, arXiv 2505.01452); its gradient never dies, and it starts at 1.
    Special tokens weigh 0.
    """

    def __init__(self, settings: QuerySettings, vocabulary_size: int, special: torch.Tensor) -> None:
        super().__init__()
        self._kind = settings.kind
        self.raw: torch.Tensor
        start = torch.full((vocabulary_size,), _ONE if settings.kind == "table" else 1.0)
        if settings.kind == "table" or settings.learnable:
            self.raw = nn.Parameter(start)
        else:
            self.register_buffer("raw", start)
        self.allowed: torch.Tensor
        allowed = torch.ones(vocabulary_size)
        allowed[special[special < vocabulary_size]] = 0
        self.register_buffer("allowed", allowed, persistent=False)

    @property
    def weights(self) -> torch.Tensor:
        """The weight of every piece, at least 0, shape (vocabulary,)."""
        values = functional.softplus(self.raw) if self._kind == "table" else self.raw.relu()
        return values * self.allowed

    def set_weights(self, weights: NDArray[np.float32]) -> None:
        """Start from `weights`, at least 0, shape (vocabulary,)."""
        values = torch.from_numpy(np.asarray(weights, dtype=np.float32)).to(self.raw.device)
        if self._kind == "table":
            # The inverse of softplus; a weight of 0 becomes a tiny one.
            values = values.clamp(min=1e-4)
            values = values + torch.log(-torch.expm1(-values))
        with torch.no_grad():
            self.raw.copy_(values)

    def forward(self, batch: TokenBatch) -> SideOutput:
        """Return query weights, shape (texts, vocabulary)."""
        weights = self.weights
        return SideOutput(bag_of_tokens(batch, weights.shape[0]) * weights, {})

    def as_array(self) -> NDArray[np.float32]:
        """Return the weights as an array, shape (vocabulary,)."""
        array: NDArray[np.float32] = self.weights.detach().float().cpu().numpy().copy()
        return array
