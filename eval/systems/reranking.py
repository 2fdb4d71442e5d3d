"""Re-ranking: a cross-encoder reads query and document together, for the first documents of another system."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lsr.encoders.options import EncoderOptions
from lsr.eval.judged_documents import texts_of
from lsr.eval.measured_search import timed_places
from lsr.eval.rankings import Rankings, RankingsBuilder
from lsr.eval.systems.base import Derived, Workspace
from lsr.eval.systems.dense import model_fingerprint, resolve_model
from lsr.eval.systems.requirements import quiet_loading, require

if TYPE_CHECKING:
    from lsr.training.teachers.cross_encoder import CrossEncoderTeacher

RERANK_DEPTH = 100


class RerankedSystem:
    """Another system's first documents in the order of a cross-encoder's scores, the rest after them.

    Nogueira & Cho, "Passage Re-ranking with BERT", 2019 (arXiv 1901.04085). Equal scores keep the other
    system's order.

    Args:
        label: what tables call it.
        part: the label of the system whose rankings are taken.
        model: a folder or a Hugging Face id of a cross-encoder with one output.
        depth: how many documents of a query are read.
        options: ``max_length``, ``batch_size`` and ``device``.
    """

    def __init__(
        self,
        label: str,
        part: str,
        model: str,
        depth: int = RERANK_DEPTH,
        options: EncoderOptions | None = None,
        spec: str | None = None,
    ) -> None:
        require("sentence_transformers", "sentence-transformers", "re-ranking systems", "dense")
        self.label = label
        self.spec = spec or f"{part}:{model}"
        self.parts: tuple[str, ...] = (part,)
        self.model = model
        self.depth = depth
        self._options = options or EncoderOptions()
        self._loaded: CrossEncoderTeacher | None = None
        self._fingerprint: str | None = None

    def identity(self) -> dict[str, Any]:
        """Return the model's fingerprint and what changes its scores."""
        if self._fingerprint is None:
            self._fingerprint = model_fingerprint(self.model)
        return {
            "kind": "cross-encoder",
            "encoder": Path(self.model).name,
            "fingerprint": self._fingerprint,
            "depth": self.depth,
            "max_length": self._options.max_length,
        }

    def derive(self, workspace: Workspace, parts: Sequence[Rankings], k: int) -> Derived:
        """Return the re-ranked rankings."""
        (rankings,) = parts
        model = self._load()
        dataset = workspace.dataset
        wanted = {name for _, ids, _ in rankings for name in ids[: self.depth]}
        texts = texts_of(dataset, wanted)
        builder = RankingsBuilder()
        milliseconds = []
        start = time.perf_counter()
        with workspace.progress(
            f"Re-ranking {dataset.name}", total=len(dataset.queries), unit="queries"
        ) as shown:
            for query, (query_id, ids, _) in zip(dataset.queries, rankings, strict=True):
                first = ids[: self.depth]
                before = time.perf_counter()
                scores = np.empty(0, np.float32)
                if first:
                    scores = model.score([query.text], [texts[name].full_text for name in first])[0]
                milliseconds.append(1000 * (time.perf_counter() - before))
                order = np.argsort(-scores, kind="stable").tolist()
                rest = ids[self.depth : k]
                # What was not read follows, below the least score.
                least = float(scores.min()) if len(scores) else 0.0
                below = least - np.arange(1, len(rest) + 1, dtype=np.float32)
                builder.add(
                    query_id,
                    [*(first[place] for place in order), *rest][:k],
                    np.concatenate([scores[order], below])[:k],
                )
                shown.advance()
        seconds = time.perf_counter() - start
        timed = np.array(milliseconds)[timed_places(len(milliseconds))]
        return Derived(builder.build(), {}, seconds, timed)

    def _load(self) -> CrossEncoderTeacher:
        if self._loaded is None:
            from lsr.training.teachers.cross_encoder import CrossEncoderTeacher

            with quiet_loading():
                self._loaded = CrossEncoderTeacher(
                    str(resolve_model(self.model)),
                    max_length=self._options.max_length,
                    batch_size=self._options.batch_size,
                    device=self._options.device,
                )
        return self._loaded
