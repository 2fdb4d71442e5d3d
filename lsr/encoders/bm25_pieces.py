"""Word pieces as terms: any tokenizer of Hugging Face's `tokenizers`, without special tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from lsr.encoders.base import TermSpan
from lsr.encoders.spans import piece_spans
from lsr.errors import UserError

TOKENIZER_FILE = "tokenizer.json"


class PieceTerms:
    """Turns texts into piece ids; the vocabulary is the tokenizer's and does not grow."""

    def __init__(self, source: str) -> None:
        """Load `source`: a ``tokenizer.json``, a folder holding one, or a Hugging Face id."""
        self._tokenizer = _load(source)
        # Both are part of tokenizer.json, and would shorten or lengthen documents.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        pieces = self._tokenizer.get_vocab(with_added_tokens=True)
        width = max(pieces.values(), default=-1) + 1
        self.vocabulary = [f"<no piece {number}>" for number in range(width)]
        for piece, number in pieces.items():
            self.vocabulary[number] = piece
        added = self._tokenizer.get_added_tokens_decoder()
        self._special = frozenset(number for number, token in added.items() if token.special)

    def term_ids(self, texts: Sequence[str], max_length: int | None = None) -> list[list[int]]:
        """Return the ids of each text's pieces in its order, special tokens left out."""
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        special = self._special
        rows = (encoding.ids[:max_length] for encoding in encodings)
        return [[number for number in row if number not in special] for row in rows]

    def spans(self, text: str) -> list[TermSpan]:
        """Return where the pieces of a text stand in it."""
        return piece_spans(self._tokenizer, text, self._special)

    def to_json(self) -> str:
        """Return the tokenizer as the text of a ``tokenizer.json``."""
        return self._tokenizer.to_str()


def _load(source: str) -> Tokenizer:
    path = Path(source).expanduser()
    if path.is_dir():
        path = path / TOKENIZER_FILE
        if not path.is_file():
            raise UserError(f"{source}: the folder holds no {TOKENIZER_FILE}; give tokenizer= one that does.")
    # `tokenizers` raises plain Exception for everything: broken files, unknown ids, no network.
    try:
        if path.is_file():
            return Tokenizer.from_file(str(path))
        return Tokenizer.from_pretrained(source)
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{source}: no tokenizer could be loaded from it ({first}); "
            "tokenizer= takes a tokenizer.json, a folder with one, or a Hugging Face id."
        ) from error
