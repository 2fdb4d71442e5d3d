"""DF-FLOPS: FLOPS that presses terms by how many documents hold them."""

from __future__ import annotations

import math

import torch
from torch import nn

from lsr.errors import UserError
from lsr.training.losses.sparsity import SparsityLoss, flops


class DocumentFrequencies(nn.Module):
    """The share of documents that hold each term, followed while weights change.

    Batches are counted as they come; every `refresh` of them the shares become
    momentum * old + (1 - momentum) * counted, and counting starts anew. Between refreshes the shares
    stand still, so the loss does not chase its own batch. The first batch is taken at once, because
    nothing is known before it. `set_frequencies` takes measured ones instead, as the paper does with the
    documents of its validation runs. All state is in buffers: it is saved, resumed and moved with
    the loss. With several processes, show it the gathered batch, so that all count the same.
    """

    shares: torch.Tensor
    _counts: torch.Tensor
    _documents: torch.Tensor
    _batches: torch.Tensor

    def __init__(self, vocabulary_size: int, refresh: int = 100, momentum: float = 0.0) -> None:
        super().__init__()
        if refresh < 1:
            raise UserError(f"refresh is {refresh}; it must be 1 or more steps.")
        if not 0 <= momentum < 1:
            raise UserError(f"momentum is {momentum}; it must be at least 0 and below 1.")
        self.refresh = refresh
        self.momentum = momentum
        self.register_buffer("shares", torch.zeros(vocabulary_size))
        self.register_buffer("_counts", torch.zeros(vocabulary_size, dtype=torch.int64))
        self.register_buffer("_documents", torch.zeros((), dtype=torch.int64))
        # -1 until the first batch.
        self.register_buffer("_batches", torch.full((), -1, dtype=torch.int64))

    @torch.no_grad()
    def observe(self, weights: torch.Tensor) -> None:
        """Count the terms of a batch of documents, shape (documents, vocabulary)."""
        if not len(weights):
            return
        self._counts += torch.count_nonzero(weights, dim=0)
        self._documents += len(weights)
        first = bool(self._batches < 0)
        self._batches += 1
        if first or bool(self._batches >= self.refresh):
            momentum = 0.0 if first else self.momentum
            self.shares.mul_(momentum).add_((1 - momentum) * (self._counts / self._documents))
            self._start_counting()

    @torch.no_grad()
    def set_frequencies(self, counts: torch.Tensor, documents: int) -> None:
        """Take the document frequencies measured on `documents` documents."""
        self.shares.copy_(counts / max(documents, 1))
        self._start_counting()

    def _start_counting(self) -> None:
        self._counts.zero_()
        self._documents.zero_()
        self._batches.zero_()


def frequency_weights(shares: torch.Tensor, alpha: float, beta: float) -> torch.Tensor:
    """Return activ(x; a, b) = 1 / (1 + (x^(log_a 2) - 1)^b) of each share x between 0 and 1.

    It rises from 0 at x = 0 over 1/2 at x = a to 1 at x = 1, the steeper the larger b.
    x^(log_a 2) passes any float's range for small x, so the power is taken of logarithms: with
    u = ln 2 ln x / ln a, ln(x^(log_a 2) - 1) = ln(e^u - 1) = u + ln(1 - e^-u).
    """
    exponents = math.log(2) / math.log(alpha) * shares.log()
    return torch.sigmoid(-beta * (exponents + torch.log(-torch.expm1(-exponents))))


class DFFLOPS(SparsityLoss):
    """DF-FLOPS (arXiv 2505.15070): sum_j activ(DF_j / |C|) (1/N sum_i |w_ij|)^2.

    `activ` is `frequency_weights`: terms in fewer than a share `alpha` of the documents are nearly
    free, those in more are penalised as by FLOPS; so long postings lists go and rare terms stay.
    Document frequencies come from `DocumentFrequencies`, which counts each batch seen in training
    mode (one call of the loss a step); in evaluation mode nothing is counted.
    `group_size`: see `lsr.training.losses.sparsity.flops`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        alpha: float = 0.1,
        beta: float = 10.0,
        refresh: int = 100,
        momentum: float = 0.0,
        group_size: int = 1,
    ) -> None:
        super().__init__()
        if not 0 < alpha < 1:
            raise UserError(f"alpha is {alpha}; it must be a share of the documents between 0 and 1.")
        if not beta > 0:
            raise UserError(f"beta is {beta}; it must be above 0.")
        if group_size < 1:
            raise UserError(f"group_size is {group_size}; it must be 1 or more.")
        self.alpha = alpha
        self.beta = beta
        self.group_size = group_size
        self.frequencies = DocumentFrequencies(vocabulary_size, refresh, momentum)

    def forward(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the loss of documents' term weights; counts their terms first when training."""
        if self.training:
            self.frequencies.observe(weights)
        term_weights = frequency_weights(self.frequencies.shares, self.alpha, self.beta)
        return flops(weights, term_weights=term_weights, group_size=self.group_size)
