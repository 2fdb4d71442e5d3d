"""From texts to batches of token ids, as training and inference read them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer

from lsr.composition.types import TokenBatch

Window = tuple[int, list[int]]
"""The number of a text and token ids of it, special ones included."""


class TextTokenizer:
    """Tokenizes the texts of one side.

    `max_length` counts tokens, special ones included; None reads all. `prompt` goes in front of every
    text. `special` says whether special tokens are added: look-ups want the pieces alone.
    """

    def __init__(
        self, tokenizer: Tokenizer, max_length: int | None, prompt: str, *, special: bool, padding_id: int = 0
    ) -> None:
        # Truncation is a property of a tokenizer, so every side has its own.
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self.max_length = max_length
        self.prompt = prompt
        self._special = special
        self._padding_id = padding_id
        self.tokenizer.no_padding()

    def batch(self, texts: Sequence[str]) -> TokenBatch:
        """Return the tokens of `texts`, cut at `max_length`, padded on the right."""
        self._truncate(self.max_length)
        encodings = self.tokenizer.encode_batch_fast(
            [self.prompt + text for text in texts], add_special_tokens=self._special
        )
        return self.padded([encoding.ids for encoding in encodings])

    def windows(
        self, texts: Sequence[str], max_length: int | None, *, further: bool
    ) -> tuple[list[Window], int]:
        """Return the windows of `texts` and how many texts are longer than `max_length`.

        Only the first window of each, unless `further`. A text without any piece has none.
        """
        self._truncate(max_length)
        added = self.tokenizer.num_special_tokens_to_add(False) if self._special else 0
        windows: list[Window] = []
        longer = 0
        read = [self.prompt + text if text.strip() else "" for text in texts]
        encodings = self.tokenizer.encode_batch_fast(read, add_special_tokens=self._special)
        for owner, (text, encoding) in enumerate(zip(read, encodings, strict=True)):
            longer += bool(encoding.overflowing)
            for window in [encoding, *encoding.overflowing] if further else [encoding]:
                if text and len(window.ids) > added:
                    windows.append((owner, window.ids))
        return windows, longer

    def padded(self, rows: Sequence[list[int]]) -> TokenBatch:
        """Return rows of token ids as a batch, at least one token long."""
        length = max(1, max(map(len, rows), default=1))
        ids = torch.full((len(rows), length), self._padding_id, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, values in enumerate(rows):
            ids[row, : len(values)] = torch.tensor(values, dtype=torch.long)
            mask[row, : len(values)] = 1
        return TokenBatch(ids, mask)

    def _truncate(self, max_length: int | None) -> None:
        if max_length is None:
            self.tokenizer.no_truncation()
        else:
            self.tokenizer.enable_truncation(max_length, stride=0)
