"""Words as terms: split, lower-cased, without stop words, stemmed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from lsr.encoders.base import TermSpan
from lsr.encoders.bm25_settings import NONE

# Letters and digits of any script. The underscore, a word character to `re`, joins the parts of
# identifiers, and those are what is asked for.
_WORD = re.compile(r"[^\W_]+")

# The same before normalization, when an accent may still be a character of its own.
_WRITTEN_WORD = re.compile(r"[^\W_]+(?:[\u0300-\u036f]+[^\W_]*)*")

# Bounds what the cache of seen words holds; vocabularies themselves are the caller's to keep.
_CACHED_WORDS = 1_000_000

# Those of Lucene's EnglishAnalyzer, and the other pronouns, auxiliaries, question words and ends of
# contractions: they fill questions asked in sentences, and leaving them out raised the mean nDCG@10 over
# eight collections by .008. Words that are also contents ("us", "re", "won", "all") stay in.
# fmt: off
ENGLISH_STOP_WORDS = frozenset((
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no",
    "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this",
    "to", "was", "will", "with",

    "am", "aren", "been", "being", "can", "cannot", "could", "did", "didn", "do", "does", "doesn",
    "doing", "don", "had", "has", "have", "having", "he", "her", "here", "hers", "herself", "him",
    "himself", "his", "how", "i", "isn", "its", "itself", "just", "ll", "me", "my", "myself", "our",
    "ours", "ourselves", "s", "she", "should", "so", "t", "than", "theirs", "them", "themselves",
    "those", "too", "ve", "very", "wasn", "we", "were", "weren", "what", "when", "where", "which",
    "who", "whom", "whose", "why", "would", "you", "your", "yours", "yourself", "yourselves",
))
# fmt: on


class WordTerms:
    """Turns texts into the ids of a vocabulary that grows by first occurrence."""

    def __init__(self, stop_words: str, stemmer: str, vocabulary: Sequence[str] = ()) -> None:
        self.vocabulary = list(vocabulary)
        self._ids = {term: number for number, term in enumerate(self.vocabulary)}
        self._stop_words = ENGLISH_STOP_WORDS if stop_words != NONE else frozenset()
        self._stem = _stemmer(stemmer)
        self._seen = _SeenWords(self._id_of)
        self._written: dict[str, tuple[str, ...]] = {}

    def extend_vocabulary(self, terms: Sequence[str]) -> None:
        """Give the next ids to terms that the vocabulary lacks, in their order."""
        for term in terms:
            self._ids[term] = len(self.vocabulary)
            self.vocabulary.append(term)

    def term_ids(self, text: str, max_length: int | None = None) -> list[int]:
        """Return the ids of a text's terms in its order, -1 for a stop word; new terms get new ids."""
        if len(self._seen) > _CACHED_WORDS:
            self._seen.clear()
        return list(map(self._seen.__getitem__, split_words(text)[:max_length]))

    def terms(self, text: str, max_length: int | None = None) -> list[str]:
        """Return a text's terms in its order; the vocabulary stays as it is."""
        words = split_words(text)[:max_length]
        return [self._stem(word) for word in words if word not in self._stop_words]

    def spans(self, text: str) -> list[TermSpan]:
        """Return where the terms of a text stand in it."""
        spans = []
        if len(self._written) > _CACHED_WORDS // 10:
            self._written.clear()
        for match in _WRITTEN_WORD.finditer(text):
            word = match.group()
            terms = self._written.get(word)
            if terms is None:
                # One word as written is several where compatibility form splits it; they share its place.
                terms = tuple(self.terms(word))
                # Others that search at the same time may put the same there.
                self._written[word] = terms
            for term in terms:
                spans.append(TermSpan(match.start(), match.end(), term))
        return spans

    def _id_of(self, word: str) -> int:
        if word in self._stop_words:
            return -1
        term = self._stem(word)
        number = self._ids.setdefault(term, len(self.vocabulary))
        if number == len(self.vocabulary):
            self.vocabulary.append(term)
        return number


class _SeenWords(dict[str, int]):
    """Word to term id; a word met for the first time is worked out once (one look-up a word else)."""

    def __init__(self, work_out: Callable[[str], int]) -> None:
        self._work_out = work_out

    def __missing__(self, word: str) -> int:
        number = self[word] = self._work_out(word)
        return number


def split_words(text: str) -> list[str]:
    """Return the lower-cased words of a text, in compatibility form (NFKC) where it is not ASCII.

    A run of letters and digits is a word; scripts written without spaces need ``tokens=pieces``.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _WORD.findall(text.lower())


def _stemmer(language: str) -> Callable[[str], str]:
    if language == NONE:
        return str
    import Stemmer

    # Its own cache is switched off: every word is stemmed once, and then kept here.
    stem: Callable[[str], str] = Stemmer.Stemmer(language, 0).stemWord
    return stem
