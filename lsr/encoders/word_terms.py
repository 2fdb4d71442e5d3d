"""The terms of the setting ``terms=words``: word pieces whose forms are joined, and whole words beside them.

A learned encoder's vocabulary ends at some ten thousand pieces: names and rare words fall apart, and a match
of their parts is a weak one. Here every word of a text is a term as it is to ``bm25``: that of the pieces
that are forms of it, or, where no piece is, one of its own, named by the word's stem with an asterisk and
numbered behind the pieces in the order of first meeting. Documents get saturated term frequencies for their
words (`lsr.encoders.lexical`); expansion reaches pieces alone.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.encoders.base import TermSpan
from lsr.encoders.bm25_words import WordTerms, split_words
from lsr.encoders.lexical import with_word_weights
from lsr.encoders.sparse_rows import renamed
from lsr.encoders.stem_classes import LANGUAGE, StemClasses, stem_classes
from lsr.errors import UserError

_FILE = "query_words.json"
# Bounds what the cache of seen words holds.
_CACHED_WORDS = 1_000_000


class WordLookup:
    """From words to terms: the id of a piece, or the name of a term that no piece stands for.

    `grown` names the terms behind the pieces, where they are known and will not grow: these have ids too.
    """

    def __init__(self, classes: StemClasses, grown: Sequence[str] = ()) -> None:
        self.classes = classes
        self._words = WordTerms(LANGUAGE, LANGUAGE)
        self._grown = {term: len(classes.term_of) + i for i, term in enumerate(grown)}

    def with_grown(self, grown: Sequence[str]) -> WordLookup:
        """Return the look-up with the names of the terms behind the pieces."""
        return WordLookup(self.classes, grown)

    @classmethod
    def of(cls, pieces: Sequence[str]) -> WordLookup:
        """Return the look-up for a WordPiece vocabulary."""
        return cls(stem_classes(pieces))

    def terms(self, text: str, max_length: int | None = None) -> list[int | str]:
        """Return the terms of a text's words in its order, stop words left out.

        `max_length` counts words, stop words among them; None reads all.
        """
        stems = self._words.terms(text, max_length)
        pieces, grown = self.classes.by_stem, self._grown
        return [pieces[stem] if stem in pieces else grown.get(f"{stem}*", f"{stem}*") for stem in stems]

    def spans(self, text: str, pieces: Sequence[str]) -> list[TermSpan]:
        """Return where the words of a text stand in it; `pieces` names the pieces by id."""
        by_stem = self.classes.by_stem
        return [
            TermSpan(start, end, f"{stem}*" if (number := by_stem.get(stem)) is None else pieces[number])
            for start, end, stem in self._words.spans(text)
        ]

    def save(self, folder: Path) -> None:
        """Write what `load` reads into `folder`."""
        joined = np.flatnonzero(self.classes.term_of != np.arange(len(self.classes.term_of)))
        record = {
            "pieces": len(self.classes.term_of),
            "joined": dict(
                zip(map(str, joined.tolist()), self.classes.term_of[joined].tolist(), strict=True)
            ),
            "stems": self.classes.by_stem,
            "grown": list(self._grown),
        }
        (folder / _FILE).write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> WordLookup:
        """Read what `save` wrote; `UserError` where it is missing or damaged."""
        path = folder / _FILE
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            count = int(record["pieces"])
            term_of = np.arange(count, dtype=np.int64)
            joined = {int(piece): int(term) for piece, term in record["joined"].items()}
            by_stem = {str(stem): int(term) for stem, term in record["stems"].items()}
            numbers = [*joined, *joined.values(), *by_stem.values()]
            grown = [str(term) for term in record.get("grown", [])]
            if numbers and not 0 <= min(numbers) <= max(numbers) < count:
                raise ValueError("it names a piece that there is not")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} cannot be read ({error}); build the index again.") from None
        term_of[list(joined)] = list(joined.values())
        return cls(StemClasses(term_of, by_stem), grown)


class DocumentWords(WordLookup):
    """The look-up of documents, whose vocabulary grows with the words it meets."""

    def __init__(self, pieces: Sequence[str]) -> None:
        super().__init__(stem_classes(pieces))
        self._pieces = list(pieces)
        self.forget()

    def forget(self) -> None:
        """Forget all words, as if none had been met: the next documents belong to another corpus."""
        self.vocabulary = list(self._pieces)
        """The name of every term: the pieces, then words in the order of first meeting."""
        self._precedence: list[int] = []
        self._numbers: dict[str, int] = {}
        self._seen: dict[str, int] = {}

    def extend(self, terms: Sequence[str]) -> None:
        """Give the next ids to `terms`, in their order."""
        for term in terms:
            self._numbers[term] = len(self.vocabulary)
            self.vocabulary.append(term)
            digest = hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=6).digest()
            self._precedence.append(int.from_bytes(digest, "big"))

    @property
    def precedence(self) -> NDArray[np.int64]:
        """Which of two terms of equal weight stays where one must go, shape (vocabulary,): the lower number.

        Words that a text holds equally often weigh the same. Which of them stays must not depend on ids, which
        follow the order in which a process met them: a corpus encoded in parts would differ then.
        """
        pieces = len(self._pieces)
        words: NDArray[np.int64] = np.array(self._precedence, dtype=np.int64)
        return np.concatenate([np.arange(pieces, dtype=np.int64), pieces + words])

    def counts(self, texts: Sequence[str]) -> sparse.csr_array:
        """Return how often each text holds each word, float32, shape (texts, vocabulary as it is then)."""
        if len(self._seen) > _CACHED_WORDS:
            self._seen.clear()
        rows = [
            Counter(number for word in split_words(text) if (number := self._number(word)) >= 0)
            for text in texts
        ]
        indptr = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=indptr[1:])
        total = int(indptr[-1])
        indices: NDArray[np.int32] = np.fromiter((n for row in rows for n in row), np.int32, total)
        data: NDArray[np.float32] = np.fromiter((c for row in rows for c in row.values()), np.float32, total)
        found = sparse.csr_array((data, indices, indptr), shape=(len(rows), len(self.vocabulary)))
        found.sort_indices()
        return found

    def held(self, counts: sparse.csr_array, read: Sequence[str]) -> sparse.csr_array:
        """Return 1 for each term that a text holds itself, shape (texts, vocabulary as it is then).

        `counts` (texts, pieces) says how often texts hold pieces, `read` is what was read of them.
        """
        return self._held(counts, self.counts(read))

    def joined(
        self, weights: sparse.csr_array, counts: sparse.csr_array, read: Sequence[str], lexical: float
    ) -> tuple[sparse.csr_array, sparse.csr_array]:
        """Return (term weights, 1 for each term held), both of shape (texts, vocabulary as it is then).

        `weights` (texts, pieces) are a model's; `lexical` times the saturated frequencies of words is added.
        """
        words = self.counts(read)
        width = len(self.vocabulary)
        total = renamed(weights, self.classes.term_of, width)
        return with_word_weights(total, words, lexical) if lexical else total, self._held(counts, words)

    def _held(self, counts: sparse.csr_array, words: sparse.csr_array) -> sparse.csr_array:
        pieces = renamed(counts, self.classes.term_of, words.shape[1])
        both = sparse.csr_array(pieces + words)
        both.sort_indices()
        return sparse.csr_array((np.ones_like(both.data), both.indices, both.indptr), shape=both.shape)

    def _number(self, word: str) -> int:
        """Return the id of a word's term, -1 for a stop word; a new term gets the next id."""
        number = self._seen.get(word)
        if number is None:
            number = -1
            for term in self.terms(word):
                if isinstance(term, str):
                    if term not in self._numbers:
                        self.extend([term])
                    term = self._numbers[term]
                number = term
            self._seen[word] = number
        return number
