"""Tokenizers without transformers: loading, the terms they know, their special tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, normalizers

from lsr.errors import UserError

TOKENIZER_FILE = "tokenizer.json"
# Files that AutoTokenizer can build a fast tokenizer from where tokenizer.json is missing.
_SLOW_FILES = (
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
)


def load_tokenizer(folder: Path, *, lowercase: bool = False) -> Tokenizer:
    """Load the tokenizer in `folder`, with truncation and padding switched off.

    Saved tokenizers carry the truncation and padding of their last use; left on, they would cut
    texts and fill vectors with padding. `lowercase` lowers texts first, as the setting
    ``do_lower_case`` of sentence-transformers does. Raises `UserError` where there is none.
    """
    path = folder / TOKENIZER_FILE
    if path.is_file():
        tokenizer = read_tokenizer(path)
    elif any((folder / name).is_file() for name in _SLOW_FILES):
        tokenizer = _converted(folder)
    else:
        raise UserError(f"{folder} has no tokenizer.json; save the model's tokenizer there too.")
    if lowercase:
        parts = [normalizers.Lowercase(), *([tokenizer.normalizer] if tokenizer.normalizer else [])]
        tokenizer.normalizer = normalizers.Sequence(parts)
    return tokenizer


def read_tokenizer(path: Path) -> Tokenizer:
    """Read one ``tokenizer.json``; truncation and padding are switched off."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise UserError(f"{path} cannot be read as a tokenizer ({error}); save it again.") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _converted(folder: Path) -> Tokenizer:
    from transformers import AutoTokenizer

    try:
        slow: Any = AutoTokenizer.from_pretrained(str(folder), use_fast=True, local_files_only=True)
        tokenizer = Tokenizer.from_str(slow.backend_tokenizer.to_str())
    except Exception as error:  # the converters raise whatever their formats raise
        raise UserError(
            f"{folder} has no tokenizer.json and its tokenizer cannot be converted ({_first_line(error)}); "
            "save it with transformers' fast tokenizer."
        ) from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def special_token_ids(tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Return the ids of the special tokens ([CLS], [SEP], [PAD], [UNK], [MASK], ...), ascending."""
    added = tokenizer.get_added_tokens_decoder()
    return np.array(sorted(i for i, token in added.items() if token.special), dtype=np.int64)


def terms_by_id(tokenizer: Tokenizer, width: int, origin: Path) -> list[str]:
    """Return the term of each of the `width` ids of a head; ids without a piece are ``[id N]``.

    Heads are often padded past their tokenizer to a round width. Raises `UserError` where the
    tokenizer has ids that the head lacks: then the two do not belong together.
    """
    terms = [f"[id {i}]" for i in range(width)]
    pieces = tokenizer.get_vocab(with_added_tokens=True)
    highest = max(pieces.values(), default=-1)
    if highest >= width:
        raise UserError(
            f"{origin}: the tokenizer has ids up to {highest}, the model's head only {width} outputs; "
            "tokenizer and model do not belong together."
        )
    for piece, token_id in pieces.items():
        terms[token_id] = piece
    return terms


def saved_max_length(folder: Path) -> int | None:
    """Return ``model_max_length`` of the tokenizer in `folder`; None where it is unset."""
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8")).get("model_max_length")
    except (ValueError, AttributeError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}); save the tokenizer again.") from None
    # transformers writes 1e30 for "no limit".
    return int(value) if isinstance(value, int | float) and 0 < value < 1_000_000 else None


def piece_lists(tokenizer: Tokenizer, texts: Sequence[str], max_length: int | None) -> list[list[int]]:
    """Return the piece ids of each text in its order; no special tokens are added.

    `max_length` counts pieces; None reads all.
    """
    encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [encoding.ids[:max_length] for encoding in encodings]


def piece_sets(tokenizer: Tokenizer, texts: Sequence[str], max_length: int | None) -> list[NDArray[np.int64]]:
    """Return the distinct ones of `piece_lists`, ascending."""
    return [np.unique(np.array(ids, dtype=np.int64)) for ids in piece_lists(tokenizer, texts, max_length)]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
