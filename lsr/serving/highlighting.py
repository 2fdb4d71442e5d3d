"""Why a document was found: what each term earned, and where matched terms stand in the text."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from scipy import sparse

from lsr.cli.snippets import make_snippet
from lsr.encoders.base import QueryEncoder, TermSpan
from lsr.retrieval import Searcher, TermScore
from lsr.serving.interface import EarnedTerm, Mark


class SpanCache:
    """Remembers where the terms of texts stand, for as many characters of text as it may.

    Someone who types sees the same documents again and again. What another encoder found is forgotten.
    Safe to use from several threads.
    """

    def __init__(self, characters: int = 2_000_000) -> None:
        self._characters = characters
        self._held = 0
        self._encoder: QueryEncoder | None = None
        self._known: OrderedDict[str, list[TermSpan]] = OrderedDict()
        self._lock = threading.Lock()

    def spans(self, text: str, encoder: QueryEncoder) -> list[TermSpan]:
        """Return what the encoder's `term_spans` returns for `text`."""
        with self._lock:
            if encoder is not self._encoder:
                self._encoder, self._held = encoder, 0
                self._known.clear()
            known = self._known.get(text)
            if known is not None:
                self._known.move_to_end(text)
                return known
        found = encoder.term_spans(text)
        if len(text) <= self._characters // 8:
            with self._lock:
                if encoder is self._encoder and text not in self._known:
                    self._known[text] = found
                    self._held += len(text)
                while self._held > self._characters:
                    self._held -= len(self._known.popitem(last=False)[0])
        return found


class Explainer:
    """Explains the results of one query.

    Args:
        searcher: the snapshot that was searched.
        query: the text, None for a query of weights; then the terms of its weights are its own.
        weights: the query's weights, shape (1, vocabulary).
        cache: of the encoder that the index has.
    """

    def __init__(
        self, searcher: Searcher, query: str | None, weights: sparse.csr_array, cache: SpanCache
    ) -> None:
        self._index = searcher.index
        self._encoder: QueryEncoder = searcher.encoder
        self._weights = weights
        self._cache = cache
        ids = weights.indices.astype(np.int64)
        self._names = dict(zip(ids.tolist(), self._index.terms(ids), strict=True))
        self._words: dict[str, str | None] = dict.fromkeys(self._names.values())
        """The terms that the query holds itself, and the word of each, where there is a text."""
        if query is not None:
            self._words = {}
            for span in self._encoder.term_spans(query):
                start, end = _word_at(query, span)
                self._words.setdefault(span.term, query[start:end])

    def terms(self, number: int, title: str, text: str | None) -> list[EarnedTerm]:
        """Return what each term earned a document, the most first.

        Without its text a document's own terms are not known; none is called an expansion then.
        """
        own: set[str] = set()
        if text is not None:
            own = {span.term for part in (title, text) if part for span in self._spans(part)}
        scores = [
            EarnedTerm(
                name := self._names[part.term_id],
                part.weight,
                part.impact,
                part.score,
                name in self._words,
                text is None or name in own,
                self._words.get(name),
            )
            for part in self._index.explain(self._weights, number)
        ]
        return sorted(scores, key=lambda score: -score.score)

    def snippet(self, text: str, terms: Sequence[TermScore]) -> str:
        """Return the part of a text that says most about why it was found."""
        scores = {term.term: term.score for term in terms}
        return make_snippet(text, self._spans(text), scores).text

    def marks(self, text: str, terms: Sequence[TermScore]) -> list[Mark]:
        """Return the words, or parts of words, of a text that hold matched terms, in reading order."""
        scores = {term.term: term for term in terms}
        return list(_joined(text, [(s, scores[s.term]) for s in self._spans(text) if s.term in scores]))

    def _spans(self, text: str) -> list[TermSpan]:
        return self._cache.spans(text, self._encoder)


def _joined(text: str, matches: Iterable[tuple[TermSpan, TermScore]]) -> Iterator[Mark]:
    """Join matches of one word, in reading order; see `_of_word`."""
    start = end = 0
    parts: list[Mark] = []
    for span, term in matches:
        first, stop = _word_at(text, span)
        if first >= end:
            yield from _of_word(start, end, parts)
            start, parts = first, []
        end = max(end, stop)
        if parts and span.start <= parts[-1].end:
            parts[-1].end = max(parts[-1].end, span.end)
            _better(parts[-1], term)
        else:
            parts.append(Mark(span.start, span.end, term.term, term.score, not term.in_query))
    yield from _of_word(start, end, parts)


def _of_word(start: int, end: int, parts: list[Mark]) -> Iterable[Mark]:
    """Return one mark for the whole word where half of it or more was matched, else those of its parts.

    A term may be one piece of a word: "believ" stands for "unbelievable", a last letter alone does not.
    """
    if 2 * sum(part.end - part.start for part in parts) < end - start:
        return parts
    best = max(parts, key=lambda part: part.score, default=None)
    return [] if best is None else [Mark(start, end, best.term, best.score, best.expansion)]


def _word_at(text: str, span: TermSpan) -> tuple[int, int]:
    """Return where the word begins and ends that a term stands in."""
    start, end = span.start, span.end
    while start > 0 and _in_word(text[start - 1]):
        start -= 1
    while end < len(text) and _in_word(text[end]):
        end += 1
    return start, end


def _in_word(character: str) -> bool:
    """Tell whether a character is part of a word with its neighbours.

    Most scripts from U+0E00 on (Thai, Han, kana) have no spaces between words; Hangul has.
    """
    return character.isalnum() and (character < "\u0e00" or "\uac00" <= character <= "\ud7a3")


def _better(mark: Mark, term: TermScore) -> None:
    """Let a mark name the term that earned most."""
    if term.score > mark.score:
        mark.term, mark.score, mark.expansion = term.term, term.score, not term.in_query
