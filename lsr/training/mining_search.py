"""Searches for mining: an index with its encoder, or a dense model through faiss."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lsr.corpus import Document
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError

if TYPE_CHECKING:
    from lsr.retrieval import Searcher
    from lsr.training.teachers.dense import DenseTeacher


class Found(NamedTuple):
    """What a search found for a query: texts, best first, their scores, and the positive's score.

    The positive's is -inf where the search has none for it.
    """

    texts: list[str]
    scores: NDArray[np.float32]
    positive: float


class Retriever(Protocol):
    """Searches for negatives."""

    def find(self, queries: Sequence[str], positives: Sequence[str], first: int, last: int) -> list[Found]:
        """Return the documents at ranks `first` to `last`, from 1, for each query."""


def corpus_texts(corpus: str | Path | None, positives: Sequence[str]) -> list[str]:
    """Return the different texts of a corpus, and of the positives that it lacks."""
    from lsr.corpus import read_corpus

    documents = () if corpus is None else read_corpus([corpus])
    read = dict.fromkeys(document.full_text for document in documents)
    return [text for text in {**read, **dict.fromkeys(positives)} if text.strip()]


@contextmanager
def open_retriever(
    texts: list[str] | None,
    *,
    encoder: str | Path,
    dense: str | None,
    index: str | Path | None,
    options: EncoderOptions,
) -> Iterator[Retriever]:
    """Open the search that was asked for: `index`, else `dense` over `texts`, else `encoder` over them."""
    from lsr.retrieval import Searcher, build_index

    if index is not None:
        with Searcher(index, options=options, threads=options.threads or 1) as searcher:
            yield IndexRetriever(searcher)
        return
    assert texts is not None  # made wherever there is no index
    if dense is not None:
        yield DenseRetriever(dense, texts, options)
        return
    with tempfile.TemporaryDirectory(prefix="lsr-mine-", ignore_cleanup_errors=True) as folder:
        documents = (Document(str(number), text) for number, text in enumerate(texts))
        build_index(documents, Path(folder, "index"), encoder, options=options, store_texts=False)
        with Searcher(Path(folder, "index"), options=options, threads=options.threads or 1) as searcher:
            yield IndexRetriever(searcher, texts)


class IndexRetriever:
    """An index and its encoder.

    `texts` by document number, of an index made of them; without, the texts that the index stores.
    """

    def __init__(self, searcher: Searcher, texts: list[str] | None = None) -> None:
        self._searcher = searcher
        self._texts = texts
        self._numbers = {text: number for number, text in enumerate(texts or ())}

    def find(self, queries: Sequence[str], positives: Sequence[str], first: int, last: int) -> list[Found]:
        """Return the documents at ranks `first` to `last`, from 1, for each query."""
        weights = self._searcher.encode_queries(queries)
        results = []
        for row, hits in enumerate(self._searcher.search_weights(weights, last)):
            texts = self._texts_of(hits.documents)
            positive = self._positive(weights[row : row + 1], positives[row], texts, hits.scores)
            results.append(Found(texts[first - 1 :], hits.scores[first - 1 :], positive))
        return results

    def _texts_of(self, numbers: NDArray[np.int64]) -> list[str]:
        if self._texts is not None:
            return [self._texts[number] for number in numbers.tolist()]
        stored = self._searcher.index.documents(numbers)
        if any(document.text is None for document in stored):
            raise UserError(
                f"{self._searcher.index.folder} holds no texts; name the corpus with --corpus and --encoder, or "
                "index it without --no-texts."
            )
        return [Document(d.id, d.text or "", d.title).full_text for d in stored]

    def _positive(self, weights: Any, positive: str, texts: list[str], scores: NDArray[np.float32]) -> float:
        """Return the positive's score: exact where its number is known, else from among what was found."""
        if positive in self._numbers:
            return float(
                sum(part.score for part in self._searcher.index.explain(weights, self._numbers[positive]))
            )
        return float(scores[texts.index(positive)]) if positive in texts else float("-inf")


class DenseRetriever:
    """A dense model over texts, searched exactly."""

    def __init__(self, model: str, texts: list[str], options: EncoderOptions) -> None:
        from lsr.training.teachers.dense import DenseTeacher

        try:
            import faiss
        except ImportError:
            raise UserError("--dense needs faiss; install it with pip install 'lsr-search[faiss]'.") from None
        self._model: DenseTeacher = DenseTeacher(
            model, max_length=options.max_length, batch_size=options.batch_size, device=options.device
        )
        self._texts = texts
        self._numbers = {text: number for number, text in enumerate(texts)}
        self._vectors = self._model.embed_documents(texts)
        self._index: Any = faiss.IndexFlatIP(self._vectors.shape[1])
        self._index.add(self._vectors)

    def find(self, queries: Sequence[str], positives: Sequence[str], first: int, last: int) -> list[Found]:
        """Return the documents at ranks `first` to `last`, from 1, for each query."""
        vectors = self._model.embed_queries(queries)
        scores, numbers = self._index.search(vectors, min(last, len(self._texts)))
        results = []
        for row, positive in enumerate(positives):
            kept = slice(first - 1, None)
            texts = [self._texts[number] for number in numbers[row, kept].tolist()]
            own = self._numbers.get(positive)
            score = float("-inf") if own is None else float(vectors[row] @ self._vectors[own])
            results.append(Found(texts, scores[row, kept], score))
        return results
