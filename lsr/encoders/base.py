"""What every encoder offers, and what an index tells a query encoder.

Term weights are ``scipy.sparse.csr_array``, float32, shape (texts, vocabulary), indices sorted
within a row, no stored zeros, weights finite and above 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

IdfSource = Literal["training", "corpus"]


class TermSpan(NamedTuple):
    """One occurrence of a vocabulary term in a text: ``text[start:end]`` yielded `term`."""

    start: int
    end: int
    term: str


@runtime_checkable
class CorpusStatistics(Protocol):
    """Statistics of the live documents of one index snapshot; ``lsr.index.Index`` is one."""

    @property
    def document_count(self) -> int:
        """Number of live documents."""

    @property
    def vocabulary_size(self) -> int:
        """Number of term ids; the width of a query batch."""

    def document_frequencies(self, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of live documents that hold each term, shape (terms,)."""

    def text_document_frequencies(self, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of live documents whose own text holds each term, shape (terms,).

        An encoder that expands documents gives far more of them a term than hold it; it is the texts
        that say how rare a term is.
        """

    def term_ids(self, terms: Sequence[str]) -> NDArray[np.int64]:
        """Return the id of each term string, -1 where the vocabulary lacks it, shape (terms,)."""


@runtime_checkable
class QueryEncoder(Protocol):
    """Turns queries into term weights; all that a search needs."""

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that changes the output, as JSON values; ``settings["kind"]`` names the class."""

    def encode_queries(
        self, texts: Sequence[str], statistics: CorpusStatistics | None = None
    ) -> sparse.csr_array:
        """Return query weights, shape (texts, vocabulary).

        `statistics` are those of the index to be searched: encoders with a corpus IDF or a
        vocabulary that grew with the corpus need them.
        """

    def term_spans(self, text: str) -> list[TermSpan]:
        """Return where the terms of a text stand in it, in reading order.

        For marking matches in snippets and telling a text's own terms from expansions; terms that
        never enter a query (stop words, special tokens) are left out.
        """


@runtime_checkable
class Encoder(QueryEncoder, Protocol):
    """A document side and a query side."""

    name: str
    """What the user asked for: ``bm25``, a folder, a Hugging Face id."""

    weighting: Literal["impact", "frequency"]
    """``impact``: document weights are final. ``frequency``: they are term frequencies, and the
    index turns them into BM25 weights once it knows the average document length."""

    @property
    def vocabulary(self) -> Sequence[str]:
        """The term of every id. May grow while documents are encoded; ids never change."""

    def encode_documents(self, texts: Sequence[str]) -> sparse.csr_array:
        """Return document weights, shape (texts, vocabulary)."""

    def fingerprint(self) -> str:
        """Return a SHA-256, in hex, of all that changes document vectors: weights, tokenizer, settings."""

    def save_query_side(self, folder: Path) -> None:
        """Write into `folder` what `lsr.encoders.load_query_encoder` needs to encode queries later."""
