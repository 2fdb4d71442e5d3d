"""Term weights that were computed elsewhere (Anserini JSON vectors)."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import sparse

from lsr.encoders.base import CorpusStatistics, TermSpan
from lsr.errors import UserError

EXTERNAL = "external"


class ExternalQueryEncoder:
    """Reads a query as the terms themselves, separated by white space.

    A term that is written n times weighs n, as in Anserini's pre-tokenized topics. Term weights of
    other values come as vectors in a query file.
    """

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that changes the output, as JSON values."""
        return {"kind": EXTERNAL}

    def encode_queries(
        self, texts: Sequence[str], statistics: CorpusStatistics | None = None
    ) -> sparse.csr_array:
        """Return query weights, shape (texts, vocabulary of the index)."""
        if statistics is None:
            raise UserError(
                "Term ids of an index of external vectors are known to the index alone; name one."
            )
        return vectors_to_rows([Counter(text.split()) for text in texts], statistics)

    def term_spans(self, text: str) -> list[TermSpan]:
        """Return the terms of `text` with their places; texts of external vectors have none known."""
        spans = []
        place = 0
        for term in text.split():
            start = text.index(term, place)
            place = start + len(term)
            spans.append(TermSpan(start, place, term))
        return spans


class ExternalEncoder(ExternalQueryEncoder):
    """Takes document vectors as they come; the vocabulary is whatever terms they hold."""

    name = "external vectors"
    weighting: Literal["impact", "frequency"] = "impact"

    def __init__(self, vocabulary: Sequence[str] | None = None) -> None:
        """Start with a vocabulary that is closed, or with an empty one that grows."""
        self._closed = vocabulary is not None
        self.vocabulary: list[str] = list(vocabulary or ())
        self._ids: dict[str, int] = {}
        for term_id, term in enumerate(self.vocabulary):
            self._ids.setdefault(term, term_id)

    def extend_vocabulary(self, terms: Sequence[str]) -> None:
        """Give the next ids to terms that the vocabulary lacks, in their order."""
        for term in terms:
            self._ids[term] = len(self.vocabulary)
            self.vocabulary.append(term)

    def unknown_term(self, vector: Mapping[str, float]) -> str | None:
        """Return a term of `vector` that a closed vocabulary lacks, or None."""
        if not self._closed:
            return None
        return next((term for term in vector if term not in self._ids), None)

    def encode_vectors(self, vectors: Sequence[Mapping[str, float]]) -> sparse.csr_array:
        """Return document weights, shape (vectors, vocabulary so far)."""
        for vector in vectors:
            self.extend_vocabulary([term for term in vector if term not in self._ids])
        return _rows(vectors, self._ids, len(self.vocabulary))

    def encode_documents(self, texts: Sequence[str]) -> sparse.csr_array:
        """Refuse: there is no model to encode texts with."""
        raise UserError(
            "Some documents have a vector and others only text; give all of them vectors, "
            "or index texts with --encoder."
        )

    def fingerprint(self) -> str:
        """Return the same for all external vectors: what made them is not known."""
        return hashlib.sha256(EXTERNAL.encode()).hexdigest()

    def save_query_side(self, folder: Path) -> None:
        """Write ``query_encoder.json``."""
        record = json.dumps({"format": 1, **self.settings}) + "\n"
        (folder / "query_encoder.json").write_text(record, encoding="utf-8")


def vectors_to_rows(vectors: Sequence[Mapping[str, float]], statistics: CorpusStatistics) -> sparse.csr_array:
    """Return term-to-weight mappings as rows over the vocabulary of an index; unknown terms are dropped."""
    terms = list(dict.fromkeys(term for vector in vectors for term in vector))
    ids = dict(zip(terms, statistics.term_ids(terms).tolist(), strict=True))
    known = {term: term_id for term, term_id in ids.items() if term_id >= 0}
    return _rows(vectors, known, statistics.vocabulary_size)


def _rows(vectors: Sequence[Mapping[str, float]], ids: Mapping[str, int], width: int) -> sparse.csr_array:
    indices: list[int] = []
    data: list[float] = []
    starts = [0]
    for vector in vectors:
        for term, weight in vector.items():
            if term in ids and weight != 0:
                indices.append(ids[term])
                data.append(weight)
        starts.append(len(indices))
    rows = sparse.csr_array(
        (np.array(data, np.float32), np.array(indices, np.int64), np.array(starts, np.int64)),
        shape=(len(vectors), width),
    )
    rows.sort_indices()
    return rows
