"""Pseudo-relevance feedback: BM25 with RM3 on our own index."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.encoders.bm25_weights import inverse_document_frequency
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.eval.environment import indexing_code
from lsr.eval.rankings import Scored
from lsr.eval.systems.base import Sizes, Touched, Workspace
from lsr.eval.systems.sparse import SparseEngine, SparseSystem

if TYPE_CHECKING:
    from lsr.corpus import Query
    from lsr.retrieval import TermScore

# Of the terms of a feedback document those are taken that Anserini takes: 2 to 20 letters or digits, in
# at most a tenth of the documents.
_TERM = re.compile(r"[a-z0-9]{2,20}")
_MOST_DOCUMENTS = 0.1


@dataclass(frozen=True, slots=True)
class Rm3Options:
    """Anserini's defaults for RM3."""

    documents: int = 10
    """Documents of the first search that feedback is taken from."""
    terms: int = 10
    """Terms taken from each of them, and of the expansion."""
    original: float = 0.5
    """Weight of the query itself; the expansion has the rest."""


def relevance_model(
    documents: Sequence[Mapping[str, int]], scores: Sequence[float], terms: int
) -> dict[str, float]:
    """Return the weights of feedback terms, which add up to 1.

    RM1 as Anserini estimates it, after Lavrenko & Croft 2001 (doi:10.1145/383952.383972): a document is
    its `terms` most frequent terms; a term's weight is the sum over documents of its share of the
    document times the document's score; the `terms` heaviest are kept. Equal ones go by name.

    Args:
        documents: term frequencies of each document, those that may not be expanded with left out.
        scores: what the first search gave each document.
    """
    weights: defaultdict[str, float] = defaultdict(float)
    for frequencies, score in zip(documents, scores, strict=True):
        kept = _heaviest(frequencies, terms)
        total = sum(frequency for _, frequency in kept)
        for term, frequency in kept:
            weights[term] += score * frequency / total
    best = _heaviest(weights, terms)
    norm = sum(weight for _, weight in best)
    return {term: weight / norm for term, weight in best} if norm > 0 else {}


def interpolate(
    query: Mapping[str, float], expansion: Mapping[str, float], original: float
) -> dict[str, float]:
    """Return RM3's query: the query's own terms, their counts made to add up to 1, and the expansion.

    Abdul-Jaleel et al. 2004, "UMass at TREC 2004: Novelty and HARD". Without an expansion the query
    stays as it is.
    """
    total = sum(query.values())
    if not total or not expansion:
        return dict(query)
    mixed = {term: original * count / total for term, count in query.items()}
    for term, weight in expansion.items():
        mixed[term] = mixed.get(term, 0.0) + (1 - original) * weight
    return mixed


def _heaviest(weights: Mapping[str, float], count: int) -> list[tuple[str, float]]:
    return sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:count]


class Rm3System(SparseSystem):
    """``bm25`` whose queries are expanded with RM3 from the documents found first."""

    def __init__(
        self,
        label: str,
        options: EncoderOptions | None = None,
        rm3: Rm3Options | None = None,
        spec: str | None = None,
    ) -> None:
        super().__init__(label, "bm25", options, spec or "bm25+rm3", store_texts=True)
        self._rm3 = rm3 or Rm3Options()

    def identity(self) -> dict[str, Any]:
        """Return the encoder's identity; the index is that of ``bm25`` with texts."""
        return {**super().identity(), "rm3": asdict(self._rm3)}

    def _index_identity(self) -> dict[str, Any]:
        return {**super().identity(), "idf": None, "code": indexing_code()}

    def open(self, workspace: Workspace) -> Rm3Engine:
        """Open the data set's index."""
        if workspace.index is not None:
            raise UserError("bm25+rm3 reads the documents' texts again; leave out --index.")
        return Rm3Engine(self._open(workspace), self._rm3)


class Rm3Engine:
    """Searches twice: for the query, and for the query with the terms of what was found."""

    encodes_queries = False  # What a query becomes depends on a search, and is timed with it.

    def __init__(self, engine: SparseEngine, options: Rm3Options) -> None:
        self._engine = engine
        self._options = options
        self._index = engine.index
        self.encoder = "bm25+rm3"
        self.document_count = engine.document_count
        self.index_bytes: int | None = engine.index.sizes()["total"]
        self.times = engine.times
        self.notes = engine.notes
        self._frequencies = lru_cache(maxsize=100_000)(self._read_frequencies)

    def encode(self, queries: Sequence[Query]) -> list[Query]:
        """Return the queries as they are."""
        return list(queries)

    def search(self, encoded: list[Query], k: int, threads: int) -> list[Scored]:
        """Return the k best documents of each query, expanded."""
        return self._engine.search(self.expanded(encoded, threads), k, threads)

    def expanded(self, queries: Sequence[Query], threads: int = 1) -> sparse.csr_array:
        """Return the weights of the expanded queries, shape (queries, vocabulary)."""
        options = self._options
        weights = self._engine.encode(queries)
        found = self._index.search(weights, options.documents, threads=threads)
        counts = [Counter(terms) for terms in self._query_terms(queries)]
        rows = []
        for own, hits in zip(counts, found, strict=True):
            frequencies = [self._frequencies(number) for number in hits.documents.tolist()]
            expansion = relevance_model(frequencies, hits.scores.tolist(), options.terms)
            rows.append(interpolate(own, expansion, options.original))
        return self._weighted(rows)

    def _query_terms(self, queries: Sequence[Query]) -> list[list[str]]:
        encoder: Any = self._engine.searcher.encoder
        terms: list[list[str]] = encoder.query_terms([query.text for query in queries])
        return terms

    def _read_frequencies(self, number: int) -> dict[str, int]:
        """Return a document's term frequencies, those alone that a query may be expanded with."""
        (document,) = self._index.documents(np.array([number]))
        encoder: Any = self._engine.searcher.encoder
        (terms,) = encoder.query_terms([f"{document.title} {document.text or ''}"])
        counts = Counter(term for term in terms if _TERM.fullmatch(term))
        names = list(counts)
        shares = self._index.document_frequencies(self._index.term_ids(names)) / max(self.document_count, 1)
        return {
            name: counts[name]
            for name, share in zip(names, shares.tolist(), strict=True)
            if share <= _MOST_DOCUMENTS
        }

    def _weighted(self, rows: list[dict[str, float]]) -> sparse.csr_array:
        """Return term weights times IDF; terms that no document holds are left out."""
        names = list(dict.fromkeys(name for row in rows for name in row))
        ids: NDArray[np.int64] = self._index.term_ids(names)
        known = ids >= 0
        idf = np.zeros(len(names))
        idf[known] = inverse_document_frequency(
            self._index.document_frequencies(ids[known]), self.document_count
        )
        places = {name: place for place, name in enumerate(names)}
        lines, columns, data = [], [], []
        for line, row in enumerate(rows):
            for name, weight in row.items():
                place = places[name]
                if known[place]:
                    lines.append(line)
                    columns.append(int(ids[place]))
                    data.append(weight * idf[place])
        shape = (len(rows), self._index.vocabulary_size)
        matrix = sparse.csr_array((np.array(data, np.float32), (lines, columns)), shape=shape)
        matrix.sort_indices()
        return matrix

    def sizes(self, encoded: list[Query]) -> Sizes:
        """Return terms a document and an expanded query, and FLOPS of the second search."""
        return self._engine.sizes(self.expanded(encoded))

    def touched(self, encoded: list[Query], k: int) -> Touched:
        """Return what both searches read."""
        first = self._engine.touched(self._engine.encode(encoded), self._options.documents)
        second = self._engine.touched(self.expanded(encoded), k)
        return Touched(
            (first.postings or 0) + (second.postings or 0),
            (first.blocks or 0) + (second.blocks or 0),
            second.algorithm,
        )

    def explain(self, query: Query, document_id: str) -> list[TermScore] | None:
        """Return what each term of the expanded query earned a document."""
        from lsr.eval.explanations import explain_document

        return explain_document(self._engine.searcher, query, document_id, self.expanded([query]))

    def close(self) -> None:
        """Close the index."""
        self._engine.close()
