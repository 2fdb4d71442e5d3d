"""A masked language model on a processor in 8-bit integers: batches of texts, one thread each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from lsr.encoders.batching import token_batches
from lsr.encoders.checkpoint import Checkpoint
from lsr.encoders.head import Head
from lsr.encoders.int8_bert import Int8Bert
from lsr.encoders.int8_head import Int8Head
from lsr.encoders.int8_linear import byte_product
from lsr.encoders.masked_lm import MaskedLanguageModel
from lsr.errors import UserError

_log = logging.getLogger("lsr")

# A batch's tokens: more keep the products busy no better, and leave the cache.
_TOKENS = 1024
_TEXTS = 64


class Int8Model:
    """`Int8Bert` and `Int8Head`, run over batches by as many threads as PyTorch is allowed."""

    def __init__(self, body: Int8Bert, head: Int8Head, rules: Head) -> None:
        self._body = body
        self._head = head
        self._rules = rules

    def weights(self, inputs: list[NDArray[np.int32]]) -> sparse.csr_array:
        """Return the term weights of texts given as ids, shape (texts, vocabulary)."""
        lengths = [len(ids) for ids in inputs]
        with torch.inference_mode():
            ids = torch.from_numpy(np.concatenate(inputs).astype(np.int64))
            if self._rules.content is None:
                return self._head.weights(self._body.states(ids, lengths), lengths, inputs)
            pooled = self._rules.pooled_tokens(inputs)
            starts = np.cumsum([0, *lengths[:-1]])
            chosen = np.concatenate([start + places for start, places in zip(starts, pooled, strict=True)])
            own = [ids[places] for ids, places in zip(inputs, pooled, strict=True)]
            states = self._body.states(ids, lengths, chosen)
            return self._head.weights(states, [len(part) for part in own], own)

    def run(self, inputs: list[NDArray[np.int32]]) -> Iterator[tuple[list[int], sparse.csr_array]]:
        """Yield (positions in `inputs`, their term weights) for all of `inputs`, in batches.

        A text's weights do not depend on its batch, so neither on the number of threads.
        """
        batches = list(token_batches([len(ids) for ids in inputs], _TOKENS, _TEXTS))
        threads = min(torch.get_num_threads(), len(batches))

        def work(batch: list[int]) -> tuple[list[int], sparse.csr_array]:
            return batch, self.weights([inputs[i] for i in batch])

        if threads < 2:
            yield from map(work, batches)
            return
        allowed = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                yield from pool.map(work, batches)
        finally:
            # The threads' own count is also what PyTorch gives to threads that come later.
            torch.set_num_threads(allowed)


def int8_model(model: MaskedLanguageModel, head: Head, checkpoint: Checkpoint) -> Int8Model | None:
    """Return the integer form of `model` where ``precision=int8`` asks for it; else None.

    None too on an accelerator, and where this processor has no fast exact product of bytes: the
    float32 model runs there.
    """
    settings = checkpoint.settings
    if settings.precision != "int8" or model.weight.device.type != "cpu":
        return None
    if settings.pooling != "max":
        raise UserError("precision=int8 goes with maximum pooling; give --encoder-option precision=float32.")
    if byte_product() is None:
        _log.warning("this processor has no fast exact product of bytes: the model runs in float32")
        return None
    # Queries of a splade encoder pass here too, and have a limit of their own. Words joined or added later
    # can lift a term above others.
    bounded = settings.kind != "splade" and settings.terms == "pieces" and not settings.lexical_weight
    whole_head = Int8Head(
        model.weight,
        model.bias,
        settings.activation,
        rows=head.rows,
        left_out=head.left_out,
        limit=settings.document_limit() if bounded else None,
    )
    with model.whole() as whole:
        return Int8Model(Int8Bert(whole, checkpoint.source), whole_head, head)
