"""One index in a folder of this machine, as the service sees it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.corpus import Document
from lsr.encoders.options import EncoderOptions
from lsr.index import Hits, Index, StoredDocument
from lsr.index.errors import FilterProblem
from lsr.index.manifest import SHARDS
from lsr.retrieval import Searcher
from lsr.serving.changing import IndexChanger
from lsr.serving.highlighting import Explainer, SpanCache
from lsr.serving.interface import (
    Answer,
    Change,
    Conflict,
    Explanation,
    IndexInfo,
    NotFound,
    Query,
    Refusal,
    Result,
    SearchOptions,
    ServedDocument,
    Side,
    TermWeight,
    Unavailable,
)
from lsr.serving.snapshots import Snapshots

# Kinds of encoders that run a model on every query.
_QUERY_MODELS = frozenset(("splade", "composition"))


class LocalIndex:
    """An index of this machine; a `lsr.serving.interface.ServedIndex`.

    Searches find what was committed before they began, by this process or another one.

    Args:
        folder: the index.
        name: what the service calls it.
        encoder: where the encoder that filled the index lies now, for adding documents.
        options: ``idf``, ``device`` and ``threads``.
        threads: a batch of queries is spread over this many.
        durable: a change returns when the disk has confirmed it.
        patience: seconds that a change waits for another one to end.

    Raises:
        lsr.index.IndexProblem: where the folder is no index, or damaged.
    """

    def __init__(
        self,
        folder: str | Path,
        name: str,
        *,
        encoder: str | None = None,
        options: EncoderOptions | None = None,
        threads: int = 1,
        durable: bool = True,
        patience: float = 30.0,
    ) -> None:
        self.name = name
        self._folder = Path(folder)
        self._threads = threads
        self._cache = SpanCache()
        self._model_lock = threading.Lock()
        options = options or EncoderOptions()
        self._snapshots = Snapshots(
            self._folder, lambda: Searcher(self._folder, options=options, threads=threads)
        )
        self._changer = IndexChanger(
            self._folder, name, encoder=encoder, options=options, durable=durable, patience=patience
        )

    def prepare(self) -> None:
        """Load what queries need, so that the first one does not wait and what is missing shows now.

        Raises:
            UserError: for a model that queries need and cannot be loaded.
        """
        with self._snapshots.newest() as searcher:
            self._weights(searcher, [Query("a")])

    # Reading

    def info(self) -> IndexInfo:
        """Return what the index holds now."""
        with self._snapshots.newest() as searcher:
            index = searcher.index
            manifest = index.manifest
            kind = str(searcher.encoder.settings.get("kind"))
            return IndexInfo(
                name=self.name,
                documents=index.document_count,
                deleted=index.number_bound - index.document_count,
                segments=len(manifest.segments),
                postings=index.posting_count,
                vocabulary_size=index.vocabulary_size,
                impact_bits=manifest.grid.bits,
                bytes=sum(file.bytes for file in manifest.files),
                created=manifest.created,
                encoder=_without_folder(str(manifest.encoder["name"])),
                encoder_kind=kind,
                query_model=kind in _QUERY_MODELS,
                texts=manifest.stored_texts,
                fields=dict(index.fields),
            )

    def check(self) -> None:
        """Raise `Unavailable` where a newer snapshot could not be opened, or the index is gone."""
        with self._snapshots.newest():
            if self._snapshots.problem is not None:
                raise Unavailable(
                    f"The index {self.name} cannot be read anew; an older state of it is served."
                )

    def search(self, queries: Sequence[Query], options: SearchOptions) -> Answer:
        """Return the best documents of each query."""
        with self._snapshots.newest() as searcher:
            start = time.perf_counter()
            weights = self._weights(searcher, queries)
            encoded = time.perf_counter()
            hits, missing = self._find(searcher, weights, options)
            searched = time.perf_counter()
            results = [
                self._results(searcher, query, weights, row, one, options)
                for row, (query, one) in enumerate(zip(queries, hits, strict=True))
            ]
            count = searcher.index.document_count
            return Answer(results, count, encoded - start, searched - encoded, missing)

    def _find(
        self, searcher: Searcher, weights: sparse.csr_array, options: SearchOptions
    ) -> tuple[list[Hits], list[str]]:
        """Return the best documents of each query, and the parts of the index that were not searched."""
        allowed = self._allowed(searcher.index, options)
        return searcher.index.search(weights, options.k, threads=self._threads, allowed=allowed), []

    def explain(self, query: Query, document_id: str) -> Explanation:
        """Return what each term of a query earns one document."""
        with self._snapshots.newest() as searcher:
            number = int(searcher.index.document_numbers([document_id])[0])
            if number < 0:
                raise NotFound(f"The index {self.name} has no document {_shown(document_id)}.")
            weights = self._weights(searcher, [query])
            document = searcher.index.documents([number])[0]
            explainer = Explainer(searcher, query.text, weights, self._cache)
            terms = explainer.terms(number, document.title, document.text)
            score = np.float32(0)
            for part in searcher.index.explain(weights, number):
                score += np.float32(part.score)
            return Explanation(
                document=_served(document),
                score=float(score),
                terms=terms,
                title_marks=explainer.marks(document.title, terms),
                text_marks=explainer.marks(document.text or "", terms),
            )

    def documents(self, ids: Sequence[str]) -> list[ServedDocument | None]:
        """Return stored documents by id, None for an id that no document has."""
        with self._snapshots.newest() as searcher:
            numbers = searcher.index.document_numbers(ids)
            known = searcher.index.documents(numbers[numbers >= 0])
            found = {document.number: _served(document) for document in known}
            return [found.get(number) for number in numbers.tolist()]

    def encode(self, texts: Sequence[str], side: Side) -> list[list[TermWeight]]:
        """Return the terms of each text, the heaviest first."""
        with self._snapshots.newest() as searcher:
            name_of: Callable[[NDArray[np.int64]], list[str]]
            if side == "query":
                weights = self._weights(searcher, [Query(text) for text in texts])
                name_of = searcher.index.terms
            else:
                weights, vocabulary = self._changer.encode_documents(texts)

                def name_of(ids: NDArray[np.int64]) -> list[str]:
                    return [vocabulary[number] for number in ids.tolist()]

            rows = []
            for row, text in enumerate(texts):
                low, high = weights.indptr[row], weights.indptr[row + 1]
                names = name_of(weights.indices[low:high].astype(np.int64))
                own = {span.term for span in searcher.encoder.term_spans(text)}
                terms = [
                    TermWeight(name, float(weight), name not in own)
                    for name, weight in zip(names, weights.data[low:high].tolist(), strict=True)
                ]
                rows.append(sorted(terms, key=lambda term: (-term.weight, term.term)))
            return rows

    def _weights(self, searcher: Searcher, queries: Sequence[Query]) -> sparse.csr_array:
        """Return the weights of queries, shape (queries, vocabulary)."""
        vectors = [query.vector for query in queries if query.vector is not None]
        if vectors:
            if len(vectors) < len(queries):
                raise Refusal("Some queries are texts and others vectors; ask for them apart.")
            return searcher.vector_queries(vectors)
        texts = [query.text or "" for query in queries]
        if searcher.encoder.settings.get("kind") in _QUERY_MODELS:
            with self._model_lock:  # A model and its tokenizer have one user at a time.
                return searcher.encode_queries(texts)
        return searcher.encode_queries(texts)

    def _allowed(self, index: Index, options: SearchOptions) -> NDArray[np.bool_] | None:
        if options.where is None:
            return None
        try:
            return index.matching(options.where, options.seconds)
        except FilterProblem as error:
            raise Refusal(str(error)) from None

    def _results(
        self,
        searcher: Searcher,
        query: Query,
        weights: sparse.csr_array,
        row: int,
        hits: Hits,
        options: SearchOptions,
    ) -> list[Result]:
        """Return what one query found; its weights are a row of all."""
        include = options.include
        scores = hits.scores.tolist()
        if not include:
            ids = searcher.document_ids(hits.documents)
            return [Result(id_, score) for id_, score in zip(ids, scores, strict=True)]
        documents = searcher.index.documents(hits.documents)
        explainer = None
        if include & {"snippet", "marks", "terms"}:
            own = weights if weights.shape[0] == 1 else weights[[row]]
            explainer = Explainer(searcher, query.text, own, self._cache)
        results = []
        for document, score in zip(documents, scores, strict=True):
            result = Result(document.id, score)
            if "title" in include:
                result.title = document.title
            if "text" in include:
                result.text = document.text
            if "metadata" in include:
                result.metadata = document.metadata
            if explainer is not None:
                terms = explainer.terms(document.number, document.title, document.text)
                if "terms" in include:
                    result.terms = terms
                if "snippet" in include and document.text is not None:
                    result.snippet = explainer.snippet(document.text, terms)
                if "marks" in include:
                    result.title_marks = (
                        None if result.title is None else explainer.marks(result.title, terms)
                    )
                    if result.snippet is not None:
                        result.snippet_marks = explainer.marks(result.snippet, terms)
            results.append(result)
        return results

    # Changing

    def add(self, documents: Sequence[Document]) -> Change:
        """Add documents; an id that is there already is a `Conflict`, and nothing is added then."""
        return self._changing().add(documents)

    def update(self, documents: Sequence[Document]) -> Change:
        """Put documents in the place of those with their ids; new ids are added."""
        return self._changing().update(documents)

    def delete(self, ids: Sequence[str], *, skip_missing: bool) -> Change:
        """Delete documents; an id that is not there is `NotFound`, unless it may be missing."""
        return self._changing().delete(ids, skip_missing=skip_missing)

    def _changing(self) -> IndexChanger:
        if (self._folder / SHARDS).exists():
            raise Conflict(f"The index {self.name} is sharded, which is searched but not changed.")
        return self._changer

    def close(self) -> None:
        """Close what is open, when no call is under way any more."""
        self._snapshots.close()


def _served(document: StoredDocument) -> ServedDocument:
    return ServedDocument(document.id, document.title, document.text, document.metadata)


def _shown(id_: str) -> str:
    return repr(id_ if len(id_) <= 80 else id_[:79] + "…")


def _without_folder(encoder: str) -> str:
    """Return an encoder's name as others may see it: of a path the last part."""
    path = Path(encoder)
    local = path.is_absolute() or encoder.startswith((".", "~")) or len(path.parts) > 2 or os.sep == "\\"
    return path.name if local else encoder
