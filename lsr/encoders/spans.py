"""Where the pieces of a tokenizer stand in a text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from lsr.encoders.base import TermSpan

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def piece_spans(tokenizer: Tokenizer, text: str, left_out: Collection[int] = ()) -> list[TermSpan]:
    """Return the pieces of `text` with their places, without special tokens and those `left_out`."""
    encoding = tokenizer.encode(text, add_special_tokens=False)
    return [
        TermSpan(start, end, piece)
        for piece, number, (start, end) in zip(encoding.tokens, encoding.ids, encoding.offsets, strict=True)
        if end > start and number not in left_out
    ]


def named_spans(tokenizer: Tokenizer, text: str, names: Sequence[str | None]) -> list[TermSpan]:
    """Return where terms stand in `text`: `names` holds the term of each piece id, None for a piece without one."""
    encoding = tokenizer.encode(text, add_special_tokens=False)
    known = len(names)
    return [
        TermSpan(start, end, name)
        for number, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
        if end > start and number < known and (name := names[number]) is not None
    ]
