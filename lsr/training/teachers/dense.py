"""Dense teachers: any bi-encoder that sentence-transformers loads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsr.errors import UserError


class DenseTeacher:
    """Similarity of embeddings, as the model compares them (cosine or dot product).

    Args:
        model: a folder or a Hugging Face id.
        max_length: tokens that are read of a text, at most the model's own limit, which None takes.
        batch_size: texts a forward pass.
        device: as torch names it; None for a GPU where there is one.
    """

    def __init__(
        self, model: str, *, max_length: int | None = None, batch_size: int = 32, device: str | None = None
    ) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise UserError(
                "dense models need sentence-transformers; install it with pip install 'lsr-search[train]'."
            ) from None
        try:
            self._model: Any = SentenceTransformer(model, device=device)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"the dense model {model} cannot be loaded ({_first_line(error)}).") from None
        if max_length is not None:
            self._model.max_seq_length = min(max_length, self._model.max_seq_length or max_length)
        self._batch_size = batch_size

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return embeddings of queries, shape (texts, dimensions)."""
        return self._embed(self._model.encode_query, texts)

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return embeddings of documents, shape (texts, dimensions)."""
        return self._embed(self._model.encode_document, texts)

    def _embed(self, encode: Any, texts: Sequence[str]) -> NDArray[np.float32]:
        # Dot products then are what the model's own similarity is.
        cosine = self._model.similarity_fn_name in (None, "cosine")
        vectors = encode(
            list(texts), batch_size=self._batch_size, normalize_embeddings=cosine, show_progress_bar=False
        )
        return np.asarray(vectors, np.float32)

    def score(
        self, queries: Sequence[str], documents: Sequence[str], wanted: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Return the similarity of every query to every document, shape (queries, documents)."""
        scores: NDArray[np.float32] = self.embed_queries(queries) @ self.embed_documents(documents).T
        return scores


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
