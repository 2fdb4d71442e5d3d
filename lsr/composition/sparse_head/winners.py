"""Gradients of a maximum over tokens: they reach the winning tokens, and no others.

For text n and term v let t(n, v) be the winning token and g(n, v) the gradient at its logit. Then

    d states[t] = sum of g(n, v) weight[v] over the (n, v) that t wins
    d weight[v] = sum of g(n, v) states[t(n, v)] over the texts n
    d bias[v]   = sum of g(n, v) over the texts n

and g is 0 wherever the activation is: a trained encoder leaves a few hundred pairs a text. Few
pairs are gathered and summed in bags (`torch.nn.functional.embedding_bag`, nothing of size
pairs x width is made); many are scattered into [tokens, piece of the vocabulary] matrices and
multiplied. Every sum runs in a fixed order, except that PyTorch leaves the order inside its own
matrix products open on an accelerator.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import nn

from lsr.composition.sparse_head.activation import HeadActivation, slope_at_value
from lsr.composition.sparse_head.layout import PackedTexts

# Pairs held at one time (about 40 bytes each).
PAIRS = 1 << 21
# Matrix products win where more than this part of all (token, term) pairs carries a gradient:
# gathering runs at memory speed, several dozen times slower for each multiplication.
DENSE_SHARE = 1 / 48


class Winners(NamedTuple):
    """What the backward pass of a maximum needs.

    `gradient` of the output, its `values`, both (texts, vocabulary), float32 or float64; no values
    where the gradient is that at the logits already; the winner's `position` in its text, same
    shape, integers; `starts` (texts,), int64, of the texts.
    """

    gradient: torch.Tensor
    values: torch.Tensor | None
    position: torch.Tensor
    starts: torch.Tensor
    activation: HeadActivation

    def piece(self, rows: slice, columns: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (gradient at the logits, winners' positions) of some texts and terms."""
        gradient = self.gradient[rows, columns]
        if self.values is not None:
            gradient = slope_at_value(self.values[rows, columns], self.activation).mul_(gradient)
        return gradient, self.position[rows, columns]

    def active(self) -> int:
        """Return the number of pairs whose gradient may be other than 0."""
        return int(torch.count_nonzero(self.gradient if self.values is None else self.values))


def states_gradient_by_bags(winners: Winners, texts: PackedTexts, weight: torch.Tensor) -> torch.Tensor:
    """Return d states, shape (tokens, width), in the dtype of `weight`, summing over active pairs."""
    parts = []
    vocabulary = weight.shape[0]
    for rows in pieces(len(texts.lengths), max(1, PAIRS // vocabulary)):
        first = texts.starts[rows.start]
        count = sum(texts.lengths[rows])
        gradient, position = winners.piece(rows, slice(None))
        owner, term = torch.nonzero(gradient, as_tuple=True)
        token = position[owner, term] + (winners.starts[rows] - first)[owner]
        # Stable: within a token, terms keep their ascending order.
        token, order = torch.sort(token, stable=True)
        owner, term = owner[order], term[order]
        parts.append(_bags(term, weight, token, count, gradient[owner, term]))
    return torch.cat(parts) if parts else weight.new_zeros((0, weight.shape[1]))


def weight_gradient_by_bags(
    winners: Winners, states: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (d weight in the dtype of `weight`, d bias in that of the values) over active pairs."""
    vocabulary = weight.shape[0]
    gradient_of_weight = torch.empty_like(weight)
    gradient_of_bias = winners.gradient.new_empty(vocabulary)
    for columns in pieces(vocabulary, max(1, PAIRS // max(1, winners.gradient.shape[0]))):
        gradient, position = winners.piece(slice(None), columns)
        gradient_of_bias[columns] = gradient.sum(0)
        # Ordered by term, then by text.
        term, owner = torch.nonzero(gradient.t(), as_tuple=True)
        count = columns.stop - columns.start
        token = position[owner, term] + winners.starts[owner]
        gradient_of_weight[columns] = _bags(token, states, term, count, gradient[owner, term])
    return gradient_of_weight, gradient_of_bias


def gradients_by_products(
    winners: Winners, texts: PackedTexts, states: torch.Tensor, weight: torch.Tensor, numbers: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return (d states, d weight, d bias) through matrices of at most about `numbers` entries."""
    exact = winners.gradient.dtype
    of_states = torch.zeros(states.shape, dtype=exact, device=states.device)
    of_weight = torch.empty_like(weight)
    of_bias = winners.gradient.new_empty(weight.shape[0])
    for columns in pieces(weight.shape[0], max(1, numbers // max(1, states.shape[0]))):
        gradient, position = winners.piece(slice(None), columns)
        of_bias[columns] = gradient.sum(0)
        scattered = torch.zeros(
            (states.shape[0], gradient.shape[1]), dtype=states.dtype, device=states.device
        )
        # A text wins each term once and owns its tokens alone, so no two entries collide.
        scattered.scatter_(0, position + winners.starts[:, None], gradient.to(states.dtype))
        of_states += scattered @ weight[columns]
        of_weight[columns] = scattered.t() @ states
    return of_states.to(states.dtype), of_weight, of_bias


def pieces(total: int, step: int) -> Iterator[slice]:
    """Cut range(total) into slices of at most `step`."""
    for start in range(0, total, step):
        yield slice(start, min(start + step, total))


def _bags(
    rows: torch.Tensor, table: torch.Tensor, bag: torch.Tensor, bags: int, factor: torch.Tensor
) -> torch.Tensor:
    """Return, for each bag, the sum of factor x table[rows]; `bag` ascends."""
    edges = torch.searchsorted(bag, torch.arange(bags, device=bag.device))
    return nn.functional.embedding_bag(
        rows, table.detach(), edges, mode="sum", per_sample_weights=factor.to(table.dtype)
    )
