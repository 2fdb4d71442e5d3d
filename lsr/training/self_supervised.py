"""Training pairs out of raw text, for a user who has a corpus and no queries.

Inverse cloze (Lee et al. 2019, arXiv 1906.00300): a sentence is the query, the rest of its passage
the positive; in a share of the pairs the sentence stays in, so that exact matches are learned
too (the paper keeps it in 10 %). Title to body: the title is the query, the text the positive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np

from lsr.corpus import Document
from lsr.training.pairs import Pair

PairKind = Literal["inverse-cloze", "title-to-body"]

# A sentence ends at . ! or ? before white space and a capital, digit or quote, or at an empty line.
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+(?=[\"'“(\[]?[^\W_a-z])|\n\s*\n")
_LEAST_WORDS = 4
_PASSAGE_SENTENCES = 8


def make_pairs(
    documents: Iterable[Document],
    kind: PairKind,
    seed: int = 0,
    *,
    pairs_per_document: int = 1,
    keep_sentence: float = 0.1,
) -> Iterator[Pair]:
    """Yield pairs made of documents; those that are too short for one give none.

    With ``inverse-cloze`` a document gives up to `pairs_per_document` pairs, each of another of its
    sentences of at least four words, and the positive is the passage of up to eight sentences around it;
    with probability `keep_sentence` it holds the query. The same `seed` gives the same pairs.
    """
    if kind == "title-to-body":
        for document in documents:
            if document.title.strip() and document.text.strip():
                yield Pair(document.title, document.text)
        return
    random = np.random.default_rng(seed)
    for document in documents:
        yield from _inverse_cloze(document, random, pairs_per_document, keep_sentence)


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, roughly: enough to make queries of."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part and part.strip()]


def _inverse_cloze(
    document: Document, random: np.random.Generator, count: int, keep_sentence: float
) -> Iterator[Pair]:
    parts = sentences(document.text)
    long_enough = [place for place, part in enumerate(parts) if len(part.split()) >= _LEAST_WORDS]
    if len(parts) < 2 or not long_enough:
        return
    chosen = random.choice(len(long_enough), size=min(count, len(long_enough)), replace=False)
    for place in sorted(long_enough[choice] for choice in chosen.tolist()):
        first = max(0, min(place - _PASSAGE_SENTENCES // 2, len(parts) - _PASSAGE_SENTENCES))
        passage = list(enumerate(parts))[first : first + _PASSAGE_SENTENCES]
        kept = random.random() < keep_sentence
        body = " ".join(part for number, part in passage if kept or number != place)
        yield Pair(parts[place], f"{document.title} {body}" if document.title else body)
