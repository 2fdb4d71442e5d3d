"""``bm25``: term frequencies for documents, IDF for queries; the embedded baseline, without a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.encoders.base import CorpusStatistics, TermSpan
from lsr.encoders.bm25_settings import Bm25Settings
from lsr.encoders.bm25_weights import count_terms, document_part, inverse_document_frequency
from lsr.encoders.bm25_words import WordTerms
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError

KIND = "bm25"
QUERY_ENCODER_FILE = "query_encoder.json"


class Bm25QueryEncoder:
    """The query side: term frequency times the IDF of the corpus that is searched."""

    def __init__(self, settings: Bm25Settings, vocabulary: Sequence[str] = ()) -> None:
        """Load the tokenizer; `vocabulary` is one to go on from, for ``tokens=words``."""
        self._settings = settings
        self._words: WordTerms | None = None
        if settings.tokens == "words":
            self._words = WordTerms(settings.stop_words, settings.stemmer, vocabulary)
        else:
            from lsr.encoders.bm25_pieces import PieceTerms

            assert settings.tokenizer is not None  # Bm25Settings.from_values sees to it
            self._pieces = PieceTerms(settings.tokenizer)
            if vocabulary and list(vocabulary) != self._pieces.vocabulary:
                raise UserError(
                    f"{settings.tokenizer}: its vocabulary is not the one that documents were encoded with; "
                    "name the same tokenizer."
                )

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that changes the output, as JSON values."""
        return {"kind": KIND, **self._settings.as_values()}

    def encode_queries(
        self, texts: Sequence[str], statistics: CorpusStatistics | None = None
    ) -> sparse.csr_array:
        """Return term frequency times IDF, shape (texts, vocabulary of `statistics`).

        The IDF is Lucene's, see `lsr.encoders.bm25_weights`. Terms that the vocabulary lacks are
        dropped; a query of stop words alone is an empty row. Raises `ValueError` without statistics.
        """
        if statistics is None:
            raise ValueError("bm25 queries need the statistics of the index that is searched")
        terms = self.query_terms(texts)
        ids = {term: 0 for row in terms for term in row}
        found = np.asarray(statistics.term_ids(list(ids)), dtype=np.int64)
        ids = dict(zip(ids, found.tolist(), strict=True))
        weights = _count(
            [[ids[term] for term in row] for row in terms], (len(texts), statistics.vocabulary_size)
        )
        used = weights.indices.astype(np.int64)
        idf = inverse_document_frequency(statistics.document_frequencies(used), statistics.document_count)
        weights.data = (weights.data * idf).astype(np.float32)
        return weights

    def query_terms(self, texts: Sequence[str]) -> list[list[str]]:
        """Return the terms of each query in its order, repeated ones too."""
        if self._words is not None:
            words = self._words
            return [words.terms(text, self._settings.max_length) for text in texts]
        pieces = self._pieces
        rows = pieces.term_ids(texts, self._settings.max_length)
        return [[pieces.vocabulary[number] for number in row] for row in rows]

    def term_spans(self, text: str) -> list[TermSpan]:
        """Return where the terms of a text stand in it, stop words left out."""
        if self._words is not None:
            return self._words.spans(text)
        return self._pieces.spans(text)


class Bm25Encoder(Bm25QueryEncoder):
    """Both sides. Documents become term frequencies; the index, which knows lengths, weighs them."""

    name = "bm25"
    weighting: Literal["impact", "frequency"] = "frequency"

    @classmethod
    def from_options(cls, options: EncoderOptions, vocabulary: Sequence[str] = ()) -> Bm25Encoder:
        """Make an encoder, going on from `vocabulary` where an index is added to.

        Raises `UserError` for an option or a setting that bm25 does not have.
        """
        return cls(Bm25Settings.from_options(options), vocabulary)

    @property
    def vocabulary(self) -> list[str]:
        """The term of every id; for words it grows by first occurrence."""
        return self._words.vocabulary if self._words is not None else self._pieces.vocabulary

    def extend_vocabulary(self, terms: Sequence[str]) -> None:
        """Give the next ids to words that the vocabulary lacks, as encoding documents with them does."""
        if self._words is None:
            raise ValueError("the vocabulary of a tokenizer's pieces does not grow")
        self._words.extend_vocabulary(terms)

    @property
    def k1(self) -> float:
        """How slowly repetition of a term saturates."""
        return self._settings.k1

    @property
    def b(self) -> float:
        """How much a document's length counts against it, 0 to 1."""
        return self._settings.b

    def encode_documents(self, texts: Sequence[str]) -> sparse.csr_array:
        """Return term frequencies, float32, shape (texts, vocabulary as it is afterwards)."""
        limit = self._settings.max_length
        if self._words is not None:
            words = self._words
            rows = [words.term_ids(text, limit) for text in texts]
        else:
            rows = self._pieces.term_ids(texts, limit)
        return _count(rows, (len(texts), len(self.vocabulary)))

    def encode_queries(
        self, texts: Sequence[str], statistics: CorpusStatistics | None = None
    ) -> sparse.csr_array:
        """Return term frequency times IDF; without `statistics` plain term frequency.

        The shape is (texts, vocabulary), the encoder's own vocabulary where there are no statistics.
        """
        if statistics is not None:
            return super().encode_queries(texts, statistics)
        ids = {term: number for number, term in enumerate(self.vocabulary)}
        rows = [[ids.get(term, -1) for term in terms] for terms in self.query_terms(texts)]
        return _count(rows, (len(texts), len(self.vocabulary)))

    def weigh(self, frequencies: sparse.csr_array, average_length: float | None = None) -> sparse.csr_array:
        """Return the document part of BM25, shape as `frequencies`; see `document_part`."""
        return document_part(frequencies, self.k1, self.b, average_length)

    def fingerprint(self) -> str:
        """Return a SHA-256, in hex, of the settings and, for pieces, of the tokenizer."""
        values = self.settings
        if self._words is None:
            # The tokenizer itself counts, not where it was found.
            values["tokenizer"] = self._pieces.to_json()
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def save_query_side(self, folder: Path) -> None:
        """Write the settings, and for pieces the tokenizer, into `folder`."""
        text = json.dumps(self.settings, indent=2) + "\n"
        Path(folder, QUERY_ENCODER_FILE).write_text(text, encoding="utf-8")
        if self._words is None:
            from lsr.encoders.bm25_pieces import TOKENIZER_FILE

            Path(folder, TOKENIZER_FILE).write_text(self._pieces.to_json(), encoding="utf-8")


def load_bm25_query_encoder(folder: str | Path) -> Bm25QueryEncoder:
    """Load what `Bm25Encoder.save_query_side` wrote; raises `UserError` when it is missing or damaged."""
    path = Path(folder, QUERY_ENCODER_FILE)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict) or values.pop("kind", None) != KIND:
            raise ValueError("it does not describe a bm25 encoder")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read: {error.strerror or error}; build the index again."
        ) from error
    except ValueError as error:
        raise UserError(f"{path}: is damaged ({error}); build the index again.") from error
    if values.get("tokens") == "pieces":
        values["tokenizer"] = str(folder)
    return Bm25QueryEncoder(Bm25Settings.from_values(values))


def _count(rows: list[list[int]], shape: tuple[int, int]) -> sparse.csr_array:
    lengths = [len(row) for row in rows]
    term_ids: NDArray[np.int64] = np.fromiter(
        (number for row in rows for number in row), dtype=np.int64, count=sum(lengths)
    )
    return count_terms(np.repeat(np.arange(len(rows)), lengths), term_ids, shape)
