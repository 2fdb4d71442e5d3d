"""A model's head as an encoder uses it: whose states are pooled, which terms are looked for, what stays 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from lsr.encoders.learned_settings import LearnedSettings
from lsr.encoders.own_pieces import own_weights
from lsr.encoders.pooling import pooled_weights
from lsr.encoders.sparse_rows import maximum_by_term
from lsr.encoders.stem_classes import content_pieces

if TYPE_CHECKING:
    from lsr.encoders.masked_lm import MaskedLanguageModel


class Head:
    """The projection to the vocabulary with all that settings and checkpoint say of it.

    `rows`, where given, are the terms that expansion may reach, ascending; the pieces of a text that are
    none of them weigh what they do at their own places. `special` are ids that never have a weight under
    ``special_tokens=zero``.
    """

    def __init__(
        self,
        model: MaskedLanguageModel,
        settings: LearnedSettings,
        pieces: Sequence[str],
        special: NDArray[np.int64],
        rows: NDArray[np.int64] | None,
    ) -> None:
        self.model = model
        self.settings = settings
        size = model.vocabulary_size
        allowed = np.ones(size, np.bool_)
        if settings.special_tokens == "zero":
            allowed[special[special < size]] = False
        searched = allowed.copy()
        if rows is not None:
            searched &= np.isin(np.arange(size), rows)
        self.rows: NDArray[np.int64] | None = np.flatnonzero(searched) if rows is not None else None
        self.left_out: NDArray[np.int64] = np.flatnonzero(~allowed)
        """Ids that never have a weight."""
        self.outside: NDArray[np.bool_] = allowed & ~searched
        """The pieces that weigh at their own places alone."""
        self.content: NDArray[np.bool_] | None = None
        """The pieces whose states are pooled; None for all."""
        if settings.pooled_tokens == "content":
            self.content = content_pieces(pieces)

    def pooled_tokens(self, inputs: list[NDArray[np.int32]]) -> list[NDArray[np.int64]]:
        """Return, for each input, the places of the tokens whose states are pooled; all where none would be."""
        if self.content is None:
            return [np.arange(len(ids)) for ids in inputs]
        places = [np.flatnonzero(self.content[ids]) for ids in inputs]
        return [
            found if found.size else np.arange(len(ids)) for found, ids in zip(places, inputs, strict=True)
        ]

    def weights(self, states: torch.Tensor, inputs: list[NDArray[np.int32]]) -> sparse.csr_array:
        """Return term weights, shape (inputs, vocabulary), of packed `states`, shape (tokens, width)."""
        model, settings, device = self.model, self.settings, states.device
        lengths = [len(ids) for ids in inputs]
        pieces = np.concatenate(inputs).astype(np.int64)
        if self.content is not None:
            pooled = self.pooled_tokens(inputs)
            starts = np.cumsum([0, *lengths])
            chosen = np.concatenate([start + places for start, places in zip(starts, pooled, strict=False)])
            states, pieces = states[torch.from_numpy(chosen).to(device)], pieces[chosen]
            lengths = [len(places) for places in pooled]
        if self.rows is None:
            weights = pooled_weights(
                states, lengths, model.weight, model.bias,
                pooling=settings.pooling, activation=settings.activation,
            )  # fmt: skip
            weights[:, torch.from_numpy(self.left_out).to(device)] = 0
            return _to_csr(weights)
        rows = torch.from_numpy(self.rows).to(device)
        bias = None if model.bias is None else model.bias[rows]
        weights = pooled_weights(
            states,
            lengths,
            model.weight[rows],
            bias,
            pooling=settings.pooling,
            activation=settings.activation,
        )
        found = _to_csr(weights)
        found = sparse.csr_array(
            (found.data, self.rows[found.indices], found.indptr), shape=(len(inputs), model.vocabulary_size)
        )
        ids = torch.from_numpy(pieces).to(device)
        outside = torch.from_numpy(self.outside).to(device)
        tokens, values = own_weights(states, ids, model.weight, model.bias, outside, settings.activation)
        text = np.repeat(np.arange(len(inputs)), lengths)[tokens.cpu().numpy()]
        return with_own_weights(found, text, pieces[tokens.cpu().numpy()], values.cpu().numpy())


def with_own_weights(
    weights: sparse.csr_array,
    texts: NDArray[np.int64],
    pieces: NDArray[np.int64],
    values: NDArray[np.float32],
) -> sparse.csr_array:
    """Return `weights` with the largest of `values` at each (text, piece); those not above 0 are none."""
    kept = values > 0
    rows = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    return maximum_by_term(
        np.concatenate([rows, texts[kept]]),
        np.concatenate([weights.indices, pieces[kept]]),
        np.concatenate([weights.data, values[kept]]),
        (weights.shape[0], weights.shape[1]),
    )


def _to_csr(weights: torch.Tensor) -> sparse.csr_array:
    """Return the entries other than 0 (weights are at least 0, or not numbers)."""
    rows, columns = torch.nonzero(weights, as_tuple=True)
    counts = torch.bincount(rows, minlength=weights.shape[0])
    indptr = np.zeros(weights.shape[0] + 1, dtype=np.int64)
    np.cumsum(counts.cpu().numpy(), out=indptr[1:])
    data = weights[rows, columns].cpu().numpy()
    return sparse.csr_array(
        (data, columns.to(torch.int32).cpu().numpy(), indptr), shape=(weights.shape[0], weights.shape[1])
    )
