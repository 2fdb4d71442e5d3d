"""What passes between the composition of an encoder and its training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import nn


class TokenBatch(NamedTuple):
    """Token ids of a batch of texts, padded; both int64, shape (texts, length)."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor

    def to(self, device: torch.device | str) -> TokenBatch:
        """Return the batch on another device."""
        return TokenBatch(self.input_ids.to(device), self.attention_mask.to(device))


class SideOutput(NamedTuple):
    """What one side makes of a batch.

    `weights`: term weights, float32, shape (texts, vocabulary), at least 0. `auxiliary`: losses that
    a part brings along (a sparse autoencoder's reconstruction), each a scalar by name; they are added
    to the training loss.
    """

    weights: torch.Tensor
    auxiliary: dict[str, torch.Tensor]


class TrainableEncoder(Protocol):
    """What the training loop needs of an encoder; `lsr.composition.model.SparseModel` is one."""

    @property
    def vocabulary_size(self) -> int:
        """The width of weights."""

    @property
    def module(self) -> nn.Module:
        """All parameters; the module itself where the encoder is one."""

    def tokenize_documents(self, texts: Sequence[str]) -> TokenBatch:
        """Return the tokens of documents, cut at the encoder's length."""

    def tokenize_queries(self, texts: Sequence[str]) -> TokenBatch:
        """Return the tokens of queries, cut at the encoder's length."""

    def document_side(self, batch: TokenBatch) -> SideOutput:
        """Return document weights with gradients."""

    def query_side(self, batch: TokenBatch) -> SideOutput:
        """Return query weights; with gradients where the query side has parameters."""

    def save(self, folder: str) -> None:
        """Write a folder that `lsr.load_encoder` loads and that gives the same vectors."""
