"""Word pieces that are forms of one word share a term: the one of the first form in the vocabulary.

A masked language model's vocabulary holds "temperature" and "temperatures", which BM25 joins by stemming
and a learned encoder has to learn to join, at a term for each form. Joined here, a document spends one
term on all forms of a word, and matches none the worse for its inflection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsr.encoders.bm25_words import WordTerms, split_words

LANGUAGE = "english"


@dataclass(frozen=True)
class StemClasses:
    """`term_of` (pieces,), int64: the piece that stands for each piece; `by_stem`: the piece that stands
    for every stem some piece has."""

    term_of: NDArray[np.int64]
    by_stem: dict[str, int]


def stem_classes(pieces: Sequence[str], words: WordTerms | None = None) -> StemClasses:
    """Return the classes of a WordPiece vocabulary, by Snowball's English stems.

    A piece counts as a word if it can begin one ("##" marks those that cannot), holds letters and digits
    alone, in lower case, and is no stop word; every other piece stands for itself. `words` splits and
    stems; left out, as ``bm25`` does.
    """
    words = words or WordTerms(LANGUAGE, LANGUAGE)
    term_of = np.arange(len(pieces), dtype=np.int64)
    by_stem: dict[str, int] = {}
    for number, piece in enumerate(pieces):
        if split_words(piece) == [piece] and (stems := words.terms(piece)):
            term_of[number] = by_stem.setdefault(stems[0], number)
    return StemClasses(term_of, by_stem)


def content_pieces(pieces: Sequence[str]) -> NDArray[np.bool_]:
    """Tell which pieces can mean something by themselves, shape (pieces,).

    Stop words and punctuation cannot: what they say of a text, the states of the pieces around them say
    too. [CLS] counts as content, whose state sums the text up; other special tokens do not.
    """
    words = WordTerms(LANGUAGE, LANGUAGE)

    def content(piece: str) -> bool:
        if piece.startswith("[") and piece.endswith("]"):
            return piece == "[CLS]"
        bare = piece.removeprefix("##")
        # Continuations are parts of words even where they read like a stop word ("##s", "##an").
        return bool(split_words(bare)) and (bare != piece or bool(words.terms(bare)))

    return np.fromiter(map(content, pieces), np.bool_, len(pieces))
