"""DeepCT's regression of term weights to what queries ask of a document."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from lsr.composition.types import TokenBatch
from lsr.training.losses.ranking import above_zero, mean_where


class TermMSE(nn.Module):
    """Mean over the terms t of documents d of (w_dt - scale * target_dt)^2 (DeepCT, arXiv 1910.10687).

    The target is query term recall, the share of the queries that d answers which hold t
    (`query_term_recall`). With one query a document in the batch the target is 0 or 1, and the
    weights that minimise the loss over many batches are the recall itself. Only the terms of the
    document count: DeepCT does not expand.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = above_zero("scale", scale)

    def forward(self, weights: torch.Tensor, targets: torch.Tensor, terms: torch.Tensor) -> torch.Tensor:
        """Return the loss; all of shape (documents, vocabulary), `terms` bool."""
        return mean_where((weights - self.scale * targets.to(weights.dtype)).square(), terms)


def bag_of_terms(batch: TokenBatch, vocabulary_size: int, excluded: Sequence[int] = ()) -> torch.Tensor:
    """Return which terms each text holds, bool, shape (texts, vocabulary).

    `excluded`: ids that are no terms, such as a tokenizer's special tokens.
    """
    texts = len(batch.input_ids)
    bags = torch.zeros((texts, vocabulary_size + 1), dtype=torch.bool, device=batch.input_ids.device)
    # Padding goes to a column of its own.
    ids = torch.where(batch.attention_mask > 0, batch.input_ids, vocabulary_size)
    bags.scatter_(1, ids, True)
    bags[:, list(excluded)] = False
    return bags[:, :vocabulary_size]


def query_term_recall(queries: torch.Tensor, documents: torch.Tensor, count: int) -> torch.Tensor:
    """Return the share of each document's queries that hold each term, shape (count, vocabulary).

    `queries`: bags of terms, bool, shape (queries, vocabulary); `documents`: the row of the document
    that each query is answered by. A document without queries has recall 0.
    """
    held = torch.zeros((count, queries.shape[1]), device=queries.device)
    held.index_add_(0, documents, queries.to(held.dtype))
    answered = torch.bincount(documents, minlength=count).clamp(min=1)
    return held / answered[:, None]
