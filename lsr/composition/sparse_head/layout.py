"""How the tokens of a batch lie one below another, without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby

import torch


@dataclass(frozen=True)
class PackedTexts:
    """Text i holds the `lengths[i]` tokens from `starts[i]` on; every length is at least 1."""

    lengths: tuple[int, ...]

    @classmethod
    def of(cls, lengths: Sequence[int] | torch.Tensor, tokens: int) -> PackedTexts:
        """Check `lengths`, shape (texts,), against the number of packed tokens."""
        listed = lengths.tolist() if isinstance(lengths, torch.Tensor) else lengths
        texts = cls(tuple(int(length) for length in listed))
        if any(length < 1 for length in texts.lengths):
            raise ValueError("every text needs at least one token")
        if sum(texts.lengths) != tokens:
            raise ValueError(f"lengths add up to {sum(texts.lengths)}, but there are {tokens} tokens")
        return texts

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The first token of each text."""
        return tuple(accumulate(self.lengths, initial=0))[: len(self.lengths)]

    @cached_property
    def longest(self) -> int:
        """The greatest length; 0 without texts."""
        return max(self.lengths, default=0)

    @cached_property
    def runs(self) -> tuple[tuple[int, int], ...]:
        """(number of texts, their length) for each run of neighbours of equal length."""
        return tuple((sum(1 for _ in run), length) for length, run in groupby(self.lengths))

    @property
    def position_dtype(self) -> torch.dtype:
        """The narrowest integers that hold a token's place in its text."""
        return torch.int16 if self.longest <= 1 << 15 else torch.int32

    @cached_property
    def _tables(self) -> dict[torch.device, tuple[torch.Tensor, torch.Tensor]]:
        return {}

    def _on(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        if device not in self._tables:
            both = torch.tensor([self.starts, self.lengths], dtype=torch.int64).to(device)
            self._tables[device] = both[0], both[1]
        return self._tables[device]

    def starts_on(self, device: torch.device) -> torch.Tensor:
        """Return `starts`, int64, shape (texts,); made once a device."""
        return self._on(device)[0]

    def lengths_on(self, device: torch.device) -> torch.Tensor:
        """Return `lengths`, int64, shape (texts,); made once a device."""
        return self._on(device)[1]

    def owners_on(self, device: torch.device) -> torch.Tensor:
        """Return the text of every token, int64, shape (tokens,)."""
        return torch.repeat_interleave(self.lengths_on(device), output_size=sum(self.lengths))
