"""Options that mean the same for every encoder and every command."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from lsr.encoders.base import IdfSource

LongDocuments = Literal["cut", "windows"]


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """How an encoder is loaded and run.

    `batch_size` is the number of texts of `max_length` tokens that one batch may hold; shorter
    texts are packed to the same number of tokens. `max_length` counts tokens, special ones
    included; None takes the encoder's own. `long_documents` says what happens past it: ``cut``
    drops the rest, ``windows`` encodes further windows and takes the maximum of each term.
    `settings` are the encoder's own, by name (``k1``, ``b``, ``activation``, ...); a value given
    here wins over what the checkpoint says, and an unknown name is an error.
    """

    batch_size: int = 32
    max_length: int | None = None
    device: str | None = None
    threads: int | None = None
    idf: IdfSource | None = None
    max_terms: int | None = None
    long_documents: LongDocuments = "cut"
    settings: dict[str, Any] = field(default_factory=dict)


def setting_value(text: str) -> Any:
    """Return the value of a setting as it is typed: a number or true/false as such, else the text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
