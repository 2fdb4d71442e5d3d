"""Cross-encoder teachers: query and document read together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsr.errors import UserError


class CrossEncoderTeacher:
    """A cross-encoder's logit for each wanted pair; one forward pass a pair, so want few.

    Args:
        model: a folder or a Hugging Face id of a sequence classifier with one output.
        max_length: tokens of a query and a document together; None for the model's own limit.
        batch_size: pairs a forward pass.
        device: as torch names it; None for a GPU where there is one.
    """

    def __init__(
        self, model: str, *, max_length: int | None = None, batch_size: int = 32, device: str | None = None
    ) -> None:
        try:
            from sentence_transformers import CrossEncoder
        except ImportError:
            raise UserError(
                "cross-encoders need sentence-transformers; install it with pip install 'lsr-search[train]'."
            ) from None
        try:
            self._model: Any = CrossEncoder(model, max_length=max_length, device=device)
        except (OSError, ValueError, RuntimeError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise UserError(f"the cross-encoder {model} cannot be loaded ({reason}).") from None
        if self._model.num_labels != 1:
            raise UserError(
                f"the cross-encoder {model} has {self._model.num_labels} outputs; a cross-encoder has one score."
            )
        self._batch_size = batch_size

    def score(
        self, queries: Sequence[str], documents: Sequence[str], wanted: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Return logits of the wanted pairs, NaN elsewhere, shape (queries, documents)."""
        import torch

        scores = np.full((len(queries), len(documents)), np.nan, np.float32)
        rows, columns = np.nonzero(np.ones(scores.shape, bool) if wanted is None else wanted)
        if len(rows):
            pairs = [
                (queries[row], documents[column])
                for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
            ]
            scores[rows, columns] = self._model.predict(
                pairs,
                batch_size=self._batch_size,
                activation_fn=torch.nn.Identity(),
                show_progress_bar=False,
            )
        return scores
