"""The head on a processor: candidates by integers, their logits in float32.

A few hundred of the vocabulary's terms survive the activation. Products of integers say which could;
only their logits are computed again, exactly. Rows of the vocabulary that a model never uses are
left out of the search: those whose bias no logit overcomes, and, where a model lists the terms that
expansion may reach (``head_rows.npy``), all others, which weigh at their own places alone.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from lsr.composition.sparse_head.activation import HeadActivation, activate_
from lsr.encoders.head import with_own_weights
from lsr.encoders.int8_kernels import Floats, maxima, quantise
from lsr.encoders.int8_linear import Int8Linear
from lsr.encoders.own_pieces import own_weights
from lsr.encoders.sparse_rows import from_lists

# Rows of the vocabulary at a time: the sums of a batch of 512 tokens are 1 MB, which a core's cache holds.
_ROWS = 512
# A logit is taken for a candidate up to this many standard errors of its rounding below 0.
_ERRORS = 4.0
# Of the terms asked for, how many times as many are computed exactly.
_SPARE = 2
# A bias below this is a term that was switched off (`lsr.encoders.saving` writes -30000).
OFF = -1e4


class Int8Head:
    """Projection to the vocabulary, maximum over each text's tokens, activation.

    `weight` (vocabulary, width), `bias` (vocabulary,) or None; `rows`, ascending, are the ones that
    expansion may reach, None for all; `left_out` never get a weight, every other piece outside `rows` one
    at its own places; `limit` is how many of a text's terms will be kept, None for all.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        activation: HeadActivation,
        *,
        rows: NDArray[np.int64] | None = None,
        left_out: NDArray[np.int64] | None = None,
        limit: int | None = None,
    ) -> None:
        self._weight = weight.detach().float()
        self._bias = torch.zeros(len(weight)) if bias is None else bias.detach().float()
        self._activation: HeadActivation = activation
        self._limit = limit
        self._allowed = self._bias.numpy() > OFF
        if left_out is not None:
            self._allowed[left_out[left_out < len(weight)]] = False
        searched = self._allowed.copy()
        if rows is not None:
            searched &= np.isin(np.arange(len(weight)), rows)
        self._searched = searched
        self._outside = torch.from_numpy(self._allowed & ~searched)
        self._rows: NDArray[np.int64] = np.flatnonzero(searched)
        chosen = torch.from_numpy(self._rows)
        parts = [chosen[first : first + _ROWS] for first in range(0, len(chosen), _ROWS)]
        self._pieces = [Int8Linear(self._weight[part], self._bias[part], fitted=False) for part in parts]
        width = self._weight.shape[1]
        noise = np.float32(_ERRORS * math.sqrt(width / 12))
        self._input_noise: Floats = noise * self._weight[chosen].square().mean(1).sqrt().numpy()
        steps = [piece.steps for piece in self._pieces]
        self._weight_noise: Floats = noise * np.concatenate([np.zeros(0, np.float32), *steps])

    def weights(
        self, states: torch.Tensor, lengths: list[int], inputs: list[NDArray[np.int32]]
    ) -> sparse.csr_array:
        """Return term weights, shape (texts, vocabulary), of packed `states`, shape (tokens, width).

        `inputs` are the ids of each text's tokens, whose own pieces are candidates always.
        """
        starts = np.cumsum([0, *lengths])
        best, scales = self._estimates(states.numpy(), starts)
        terms: list[NDArray[np.int64]] = []
        values: list[Floats] = []
        for text, ids in enumerate(inputs):
            tokens = states[starts[text] : starts[text + 1]]
            spread = math.sqrt(float(tokens.square().mean()))
            noise = np.hypot(
                scales[starts[text] : starts[text + 1]].max() * self._input_noise, spread * self._weight_noise
            )
            found = self._candidates(best[text], noise, ids)
            chosen = torch.from_numpy(found)
            logits = torch.mm(self._weight[chosen], tokens.t()).amax(1).add_(self._bias[chosen])
            terms.append(found)
            values.append(activate_(logits, self._activation).numpy())
        weights = from_lists(terms, values, len(self._weight))
        if not self._outside.any():
            return weights
        pieces = np.concatenate(inputs).astype(np.int64)
        tokens, own = own_weights(
            states, torch.from_numpy(pieces), self._weight, self._bias, self._outside, self._activation
        )
        places = tokens.numpy()
        texts = np.repeat(np.arange(len(lengths)), lengths)[places]
        return with_own_weights(weights, texts, pieces[places], own.numpy())

    def _estimates(self, states: Floats, starts: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return each text's estimated logits of the rows searched, and the step of every token."""
        tokens, width = states.shape
        codes, scales = np.empty((tokens, width), np.int8), np.empty(tokens, np.float32)
        quantise(states, np.ones(width, np.float32), codes, scales, np.empty(width, np.float32))
        best = np.empty((starts.size - 1, self._rows.size), np.float32)
        first = 0
        for piece in self._pieces:
            part = np.empty((starts.size - 1, piece.outputs), np.float32)
            maxima(piece.sums(codes), scales, starts, part)
            part *= piece.steps
            part += piece.bias
            best[:, first : first + piece.outputs] = part
            first += piece.outputs
        return best, scales

    def _candidates(self, best: Floats, noise: Floats, ids: NDArray[np.int32]) -> NDArray[np.int64]:
        places = np.flatnonzero(best > -noise)
        if self._limit is not None and places.size > _SPARE * self._limit:
            heaviest = np.argpartition(-best[places], _SPARE * self._limit)[: _SPARE * self._limit]
            places = places[heaviest]
        own = np.unique(ids).astype(np.int64)
        return np.union1d(self._rows[places], own[self._searched[own]])
