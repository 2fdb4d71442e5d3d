"""From texts to a model's inputs: tokens, cut or in windows, and how far each text was read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

# Texts are tokenized and sorted by length in buffers of this many texts or characters.
_BUFFER_TEXTS = 4096
_BUFFER_CHARACTERS = 1 << 24


class ModelInputs(NamedTuple):
    """The inputs of some texts: token ids of each input, and the text that each of them is part of.

    `read` holds the part of every text that was read, `cut` how many were longer than an input.
    """

    ids: list[NDArray[np.int32]]
    owners: list[int]
    read: list[str]
    cut: int


def model_inputs(
    tokenizer: Tokenizer, texts: list[str], max_length: int | None, *, windows: bool
) -> ModelInputs:
    """Tokenize `texts`, at most `max_length` tokens an input; longer ones are cut, or read in `windows`.

    A text without any piece has no input.
    """
    if max_length is None:
        tokenizer.no_truncation()
    else:
        tokenizer.enable_truncation(max_length, stride=0)
    added = tokenizer.num_special_tokens_to_add(False)
    ids: list[NDArray[np.int32]] = []
    owners: list[int] = []
    read = list(texts)
    longer = []
    encoding: Encoding
    for owner, (text, encoding) in enumerate(zip(texts, tokenizer.encode_batch_fast(texts), strict=True)):
        further = encoding.overflowing
        if further:
            longer.append(owner)
        for window in [encoding, *further] if windows else [encoding]:
            if text and len(window.ids) > added:
                ids.append(np.array(window.ids, dtype=np.int32))
                owners.append(owner)
    if not windows:
        # Only these need the places of their tokens, which cost time.
        for owner, encoding in zip(longer, tokenizer.encode_batch([texts[i] for i in longer]), strict=True):
            read[owner] = texts[owner][: max((stop for _, stop in encoding.offsets), default=0)]
    return ModelInputs(ids, owners, read, len(longer))


def buffers(texts: list[str]) -> Iterator[list[str]]:
    """Yield `texts` in parts that are tokenized and sorted together."""
    buffer: list[str] = []
    characters = 0
    for text in texts:
        buffer.append(text)
        characters += len(text)
        if len(buffer) == _BUFFER_TEXTS or characters >= _BUFFER_CHARACTERS:
            yield buffer
            buffer, characters = [], 0
    if buffer:
        yield buffer
