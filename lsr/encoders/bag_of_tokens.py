"""Queries without a model: each distinct piece with a weight from a table, or from the corpus.

The query side of inference-free encoders (arXiv 2411.04403), where the weight is the piece's IDF,
and of SPLADE-doc (arXiv 2109.10086), where it is 1. Loads neither torch nor transformers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from tokenizers import Tokenizer

from lsr.encoders.base import CorpusStatistics, IdfSource, TermSpan
from lsr.encoders.idf import corpus_idf
from lsr.encoders.spans import named_spans
from lsr.encoders.sparse_rows import from_lists, keep_heaviest
from lsr.encoders.tokenization import piece_lists, read_tokenizer
from lsr.encoders.word_terms import WordLookup
from lsr.errors import UserError

_TOKENIZER = "query_tokenizer.json"
_TABLE = "query_weights.npy"
_FACTORS = "query_factors.npy"
_RECORD = "query_encoder.json"


class BagOfTokensQueryEncoder:
    """Weights a query's distinct pieces from a table of shape (vocabulary,).

    Pieces whose table weight is 0 or less (special tokens under the rule ``zero``, tokens that
    ``idf.json`` leaves out) never enter a query. With ``idf="corpus"`` the others get the IDF of
    the corpus that is searched in place of their table weight, times `factors`, shape (vocabulary,),
    where the model learned any; the table holds the products already. With `words` (the setting
    ``terms=words``) a query's terms are those of its pieces and of its words, which an index numbers past
    the table as it meets them. A term that stands n times in a query weighs (k3 + 1) n / (k3 + n) times as
    much: once where `k3` is 0.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        table: NDArray[np.float32],
        *,
        factors: NDArray[np.float32] | None = None,
        kind: str = "inference-free",
        idf: IdfSource = "training",
        max_length: int | None = None,
        max_terms: int | None = None,
        prompt: str = "",
        words: WordLookup | None = None,
        k3: float = 0.0,
    ) -> None:
        if idf == "corpus" and kind == "splade-doc":
            raise UserError(
                "--idf corpus does not fit a splade-doc encoder, whose query weights are 1; "
                "leave it out, or load the model with --encoder-option kind=inference-free."
            )
        self._tokenizer = tokenizer
        self._table = table
        self._factors = factors
        self._kind = kind
        self._idf: IdfSource = idf
        self._max_length = max_length
        self._max_terms = max_terms
        self._prompt = prompt
        self._words = words
        self._k3 = k3

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that changes the output, as JSON values."""
        return {
            "kind": self._kind,
            "idf": self._idf,
            "max_length": self._max_length,
            "max_terms": self._max_terms,
            "prompt": self._prompt,
            "terms": "pieces" if self._words is None else "words",
            "k3": self._k3,
        }

    @property
    def vocabulary_size(self) -> int:
        """The width of a query batch."""
        return int(self._table.size)

    @property
    def table(self) -> NDArray[np.float32]:
        """The weight of each term where it occurs, shape (vocabulary,)."""
        return self._table

    @property
    def factors(self) -> NDArray[np.float32] | None:
        """What the IDF of each term is multiplied by, shape (vocabulary,); None for 1."""
        return self._factors

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of queries."""
        return self._tokenizer

    @cached_property
    def _names(self) -> list[str]:
        pieces = self._tokenizer.get_vocab(with_added_tokens=True)
        return sorted(pieces, key=pieces.__getitem__)

    @cached_property
    def _term_names(self) -> list[str | None]:
        """The term of each piece; None for those that never enter a query."""
        names, words = self._names, self._words
        weighted = (self._table[: len(names)] > 0).tolist()
        terms = range(len(names)) if words is None else words.classes.term_of.tolist()
        return [names[terms[number]] if enters else None for number, enters in enumerate(weighted)]

    def encode_queries(
        self, texts: Sequence[str], statistics: CorpusStatistics | None = None
    ) -> sparse.csr_array:
        """Return query weights, shape (texts, vocabulary).

        `statistics` are needed with ``idf="corpus"``, where their lack is a `UserError`, and for words
        that no piece stands for, which are left out without them.
        """
        texts = [self._prompt + text for text in texts]
        width = self.vocabulary_size
        counts = [
            Counter(number for number in ids if number < width and self._table[number] > 0)
            for ids in piece_lists(self._tokenizer, texts, self._max_length)
        ]
        if self._words is not None:
            self._join(self._words, counts, texts, statistics)
            width = width if statistics is None else max(width, statistics.vocabulary_size)
        terms = [np.array(sorted(row), dtype=np.int64) for row in counts]
        if self._idf == "corpus":
            values = self._corpus_weights(terms, statistics)
        else:
            values = [self._training_weights(ids) for ids in terms]
        if self._k3:
            for row, ids, weights in zip(counts, terms, values, strict=True):
                repeats = np.array([row[number] for number in ids.tolist()], dtype=np.float32)
                weights *= (self._k3 + 1) * repeats / (self._k3 + repeats)
        return keep_heaviest(from_lists(terms, values, width), self._max_terms)

    def _join(
        self,
        words: WordLookup,
        counts: list[Counter[int]],
        texts: Sequence[str],
        statistics: CorpusStatistics | None,
    ) -> None:
        """Make `counts` of pieces counts of the terms of pieces and words; a word that is a piece counts once."""
        met = [words.terms(text, self._max_length) for text in texts]
        numbers: dict[str, int] = {term: -1 for row in met for term in row if isinstance(term, str)}
        if numbers and statistics is not None:
            numbers = dict(zip(numbers, statistics.term_ids(list(numbers)).tolist(), strict=True))
        for number, row in enumerate(met):
            joined: Counter[int] = Counter()
            for piece, count in counts[number].items():
                joined[int(words.classes.term_of[piece])] += count
            own = (numbers[term] if isinstance(term, str) else term for term in row)
            counts[number] = joined | Counter(term for term in own if term >= 0)

    def _training_weights(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the table's weights; what lies past it is as rare as the rarest in it."""
        inside = ids < self._table.size
        weights: NDArray[np.float32] = np.full(ids.size, self._table.max(initial=0), np.float32)
        weights[inside] = self._table[ids[inside]]
        return weights

    def frozen(self, statistics: CorpusStatistics, terms: Sequence[str]) -> BagOfTokensQueryEncoder:
        """Return an encoder with the weights that this one has over an index now, for use without the index.

        Args:
            statistics: those of the index.
            terms: its vocabulary by id, which goes past the tokenizer's where words have terms of their own.
        """
        if self._idf != "corpus" and self._words is None:
            return self
        used = np.concatenate([np.flatnonzero(self._table > 0), np.arange(self.vocabulary_size, len(terms))])
        weights = (
            self._corpus_weights([used], statistics)[0]
            if self._idf == "corpus"
            else self._training_weights(used)
        )
        table = np.zeros(len(terms), np.float32)
        table[used] = weights
        words = self._words
        return BagOfTokensQueryEncoder(
            self._tokenizer,
            table,
            kind=self._kind,
            max_length=self._max_length,
            max_terms=self._max_terms,
            prompt=self._prompt,
            words=None if words is None else words.with_grown(terms[self.vocabulary_size :]),
            k3=self._k3,
        )

    def _corpus_weights(
        self, pieces: list[NDArray[np.int64]], statistics: CorpusStatistics | None
    ) -> list[NDArray[np.float32]]:
        if statistics is None:
            raise UserError(
                "--idf corpus weighs queries by an index's documents; name an index, or use --idf training."
            )
        found, own = statistics.vocabulary_size, self.vocabulary_size
        if found < own or (found > own and self._words is None):
            raise UserError(
                f"the encoder has {own} terms and the index {found}; "
                "search with the encoder that built the index."
            )
        distinct = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *pieces]))
        # How many documents hold a piece themselves, where the index counted that: expansion makes
        # common terms of rare ones, and an IDF of expanded documents measures worse.
        counted = statistics.text_document_frequencies
        frequencies = np.asarray(counted(distinct), dtype=np.int64)
        weights = corpus_idf(statistics.document_count, frequencies)
        if self._factors is not None:
            inside = distinct < self._factors.size
            weights[inside] *= self._factors[distinct[inside]]
        return [weights[np.searchsorted(distinct, ids)] for ids in pieces]

    def term_spans(self, text: str) -> list[TermSpan]:
        """Return where the terms of a text stand in it, those that never enter a query left out."""
        found = named_spans(self._tokenizer, text, self._term_names)
        if self._words is not None:
            # A word that is a piece has been found already.
            found = sorted({*found, *self._words.spans(text, self._names)})
        return found

    def save(self, folder: Path) -> None:
        """Write the tokenizer, the table and the settings into `folder`."""
        (folder / _TOKENIZER).write_text(self._tokenizer.to_str(pretty=False), encoding="utf-8")
        np.save(folder / _TABLE, self._table, allow_pickle=False)
        record = {"format": 1, **self.settings, "factors": self._factors is not None}
        if self._factors is not None:
            np.save(folder / _FACTORS, self._factors, allow_pickle=False)
        if self._words is not None:
            self._words.save(folder)
        (folder / _RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(
        cls, folder: Path, record: dict[str, Any], idf: IdfSource | None = None
    ) -> BagOfTokensQueryEncoder:
        """Load what `save` wrote; `record` is the parsed ``query_encoder.json``, `idf` wins over it."""
        table = _row(folder / _TABLE)
        factors = _row(folder / _FACTORS) if record.get("factors") else None
        if factors is not None and factors.size != table.size:
            raise UserError(f"{folder / _FACTORS} is not as long as {_TABLE}; build the index again.")
        words = None
        if record.get("terms", "pieces") == "words":
            words = WordLookup.load(folder)
            if len(words.classes.term_of) > table.size:
                raise UserError(
                    f"{folder} has words of another vocabulary than {_TABLE}; build the index again."
                )
        return cls(
            read_tokenizer(folder / _TOKENIZER),
            table,
            factors=factors,
            kind=record["kind"],
            idf=idf or record.get("idf", "training"),
            max_length=record.get("max_length"),
            max_terms=record.get("max_terms"),
            prompt=record.get("prompt", ""),
            words=words,
            k3=float(record.get("k3", 0)),
        )


def _row(path: Path) -> NDArray[np.float32]:
    try:
        row: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); build the index again.") from None
    if row.ndim != 1 or row.dtype != np.float32:
        raise UserError(f"{path} is not one row of float32 weights; build the index again.")
    return row
