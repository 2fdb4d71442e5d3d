"""From a query text to ranked documents."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.encoders.base import Encoder, QueryEncoder
from lsr.encoders.external import vectors_to_rows
from lsr.encoders.loading import load_query_encoder
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.index import Hits, open_index
from lsr.index.planner import Algorithm

if TYPE_CHECKING:
    from lsr.corpus import Query


@dataclass(frozen=True)
class Hit:
    """One result: the stored document and its score. `text` is None where texts were not stored."""

    number: int
    id: str
    score: float
    title: str
    text: str | None
    metadata: dict[str, Any]


@dataclass(frozen=True)
class TermScore:
    """What one term earned a result: weight (query) * impact (document) = score.

    `in_query` and `in_document` say whether the text itself holds the term; where one does not, the
    encoder added the term: it is an expansion.
    """

    term: str
    weight: float
    impact: float
    score: float
    in_query: bool
    in_document: bool


class Searcher:
    """An index and the query side of the encoder that filled it.

    Args:
        folder: the index.
        encoder: where named (name, path or encoder), it must be the one that filled the index.
            Queries are encoded by the query side that the index keeps.
        options: ``idf``, ``device``, ``threads`` and the like for encoding queries.
        threads: a batch of queries is spread over this many threads.

    Raises:
        lsr.index.IndexProblem: where the folder is no index, or damaged.
        UserError: where the encoder is not the one that filled the index.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        encoder: str | Path | Encoder | None = None,
        options: EncoderOptions | None = None,
        threads: int = 1,
    ) -> None:
        self.index = open_index(folder)
        self.threads = threads
        self._options = options or EncoderOptions()
        if encoder is not None:
            self._check_same(encoder, self._options)
        self.encoder: QueryEncoder = self._load_encoder()

    def _load_encoder(self) -> QueryEncoder:
        """Load the query side that the index keeps."""
        while True:
            try:
                return load_query_encoder(self.index.encoder_folder, self._options)
            except UserError:
                # The index may have been replaced, with its encoder, since it was opened.
                newer = self.index.refresh()
                if newer is self.index:
                    raise
                self.index.close()
                self.index = newer

    def newest(self) -> Searcher:
        """Return a searcher of the newest snapshot: this one where nothing changed, otherwise a new one.

        Searches under way with the old one go on; each is closed on its own.
        """
        newer = self.index.refresh()
        if newer is self.index:
            return self
        other = copy.copy(self)
        other.index = newer
        if newer.encoder_folder != self.index.encoder_folder:
            try:
                other.encoder = other._load_encoder()
            except BaseException:
                other.index.close()
                raise
        return other

    def refresh(self) -> bool:
        """Go on with the newest snapshot of the index; return whether there was a newer one.

        Not while another thread searches with this searcher: the old snapshot is closed.
        """
        newer = self.newest()
        if newer is self:
            return False
        old, self.index, self.encoder = self.index, newer.index, newer.encoder
        old.close()
        return True

    def _check_same(self, encoder: str | Path | Encoder, options: EncoderOptions) -> None:
        """Refuse an encoder that is not the one that filled the index."""
        if isinstance(encoder, (str, Path)):
            from lsr.encoders import load_encoder

            encoder = load_encoder(encoder, options)
        filled_by = self.index.manifest.encoder
        if encoder.fingerprint() != filled_by["fingerprint"]:
            raise UserError(
                f"{self.index.folder} was filled by the encoder {filled_by['name']}, and {encoder.name} is not the "
                "same (other weights, tokenizer or settings); leave out --encoder, or index the corpus with it."
            )

    def encode_queries(self, texts: Sequence[str]) -> sparse.csr_array:
        """Return query weights, shape (texts, vocabulary)."""
        return self.encoder.encode_queries(texts, self.index)

    def vector_queries(self, vectors: Sequence[Mapping[str, float]]) -> sparse.csr_array:
        """Return queries given as term-to-weight mappings, shape (vectors, vocabulary)."""
        return vectors_to_rows(vectors, self.index)

    def query_weights(self, queries: Sequence[Query]) -> sparse.csr_array:
        """Return the weights of a file's queries, texts or vectors, shape (queries, vocabulary)."""
        vectors = [query.vector for query in queries if query.vector is not None]
        if vectors and len(vectors) < len(queries):
            raise UserError("Some queries have a vector and others have none; give all or none.")
        return (
            self.vector_queries(vectors)
            if vectors
            else self.encode_queries([query.text for query in queries])
        )

    def search_weights(
        self,
        queries: sparse.csr_array,
        k: int = 10,
        *,
        where: str | None = None,
        algorithm: Algorithm = "auto",
        recall: float = 1.0,
    ) -> list[Hits]:
        """Return the k best documents of each query as arrays of numbers and scores.

        `where` is a filter over the documents' fields and `recall` a share that is enough, as in `search`.
        """
        allowed = None if where is None else self.index.matching(where)
        return self.index.search(
            queries, k, threads=self.threads, algorithm=algorithm, allowed=allowed, recall=recall
        )

    def search(self, query: str, k: int = 10, *, where: str | None = None, recall: float = 1.0) -> list[Hit]:
        """Return the k best documents of one query, best first.

        Of the documents that a filter holds for, where there is one: ``year >= 2020 and lang = 'en'``,
        see `lsr.index.filters`. ``index.fields`` names the fields and their types. Where `recall` is below
        1, that share of the k best documents is enough, see `lsr.index.Index.search`.

        Raises:
            lsr.index.IndexProblem: for a mistake in the filter, and a recall that is none.
        """
        weights = self.encode_queries([query])
        return self.hits(self.search_weights(weights, k, where=where, recall=recall)[0])

    def hits(self, found: Hits) -> list[Hit]:
        """Return the stored documents of a search's result."""
        documents = self.index.documents(found.documents)
        return [
            Hit(d.number, d.id, score, d.title, d.text, d.metadata)
            for d, score in zip(documents, found.scores.tolist(), strict=True)
        ]

    def document_ids(self, numbers: NDArray[np.int64]) -> list[str]:
        """Return the ids of documents by number."""
        return self.index.document_ids(numbers)

    def explain(self, query: str, hit: Hit, weights: sparse.csr_array | None = None) -> list[TermScore]:
        """Return what each term earned a result, the most first.

        `weights` are the query's, where they are known already, shape (1, vocabulary).
        """
        weights = self.encode_queries([query]) if weights is None else weights
        parts = self.index.explain(weights, hit.number)
        terms = self.index.terms(np.array([part.term_id for part in parts], np.int64))
        text = f"{hit.title}\n{hit.text or ''}"
        own = {span.term for span in self.encoder.term_spans(text)}
        asked = {span.term for span in self.encoder.term_spans(query)}
        # Without its text a document's own terms are not known; none is called an expansion then.
        unknown = hit.text is None
        scores = [
            TermScore(term, part.weight, part.impact, part.score, term in asked, unknown or term in own)
            for term, part in zip(terms, parts, strict=True)
        ]
        return sorted(scores, key=lambda score: -score.score)

    def close(self) -> None:
        """Close the index."""
        self.index.close()

    def __enter__(self) -> Searcher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
