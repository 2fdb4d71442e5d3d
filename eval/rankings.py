"""Rankings of one system for many queries, as arrays.

A ranking's order is the system's own. Equal scores stay in the order that the system gave them: the
earlier document of the corpus first in our index, faiss and re-ranking, the lesser id first in Lucene,
the first system's order first in a fusion. Metrics go by that order, and `lsr.eval.runs` writes
scores that fall strictly, so that trec_eval, which orders equal scores by id, reads the same one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Scored = tuple[list[str], NDArray[np.floating]]
"""Document ids, best first, and their scores."""


@dataclass(frozen=True, slots=True, eq=False)
class Rankings:
    """For each query the documents found, best first: query i's are ``starts[i]`` to ``starts[i + 1]``."""

    query_ids: tuple[str, ...]
    starts: NDArray[np.int64]
    documents: NDArray[np.int32]
    """Places in `document_ids`."""
    scores: NDArray[np.floating]
    document_ids: tuple[str, ...]
    """Every document that occurs, once."""

    def __len__(self) -> int:
        return len(self.query_ids)

    def __iter__(self) -> Iterator[tuple[str, list[str], NDArray[np.floating]]]:
        """Yield each query's id, document ids and scores."""
        for place, query_id in enumerate(self.query_ids):
            ids, scores = self.ranking(place)
            yield query_id, ids, scores

    def ranking(self, place: int) -> Scored:
        """Return the documents and scores of the query at `place`."""
        part = slice(int(self.starts[place]), int(self.starts[place + 1]))
        return [self.document_ids[number] for number in self.documents[part].tolist()], self.scores[part]

    def save(self, path: Path) -> None:
        """Write the rankings into an ``.npz`` file."""
        arrays = {
            "starts": self.starts,
            "documents": self.documents,
            "scores": self.scores,
            "query_ids": _packed(self.query_ids),
            "document_ids": _packed(self.document_ids),
        }
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> Rankings:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(
                query_ids=tuple(json.loads(file["query_ids"].tobytes())),
                starts=file["starts"],
                documents=file["documents"],
                scores=file["scores"],
                document_ids=tuple(json.loads(file["document_ids"].tobytes())),
            )


class RankingsBuilder:
    """Collects rankings query by query."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._query_ids: list[str] = []
        self._documents: list[NDArray[np.int32]] = []
        self._scores: list[NDArray[np.floating]] = []

    def add(self, query_id: str, document_ids: Sequence[str], scores: NDArray[np.floating]) -> None:
        """Take the documents found for a query, best first."""
        numbers = self._numbers
        places = [numbers.setdefault(document_id, len(numbers)) for document_id in document_ids]
        self._query_ids.append(query_id)
        self._documents.append(np.array(places, np.int32))
        self._scores.append(np.asarray(scores))

    def build(self) -> Rankings:
        """Return what was collected."""
        lengths = [len(part) for part in self._documents]
        scores = self._scores or [np.empty(0, np.float32)]
        return Rankings(
            query_ids=tuple(self._query_ids),
            starts=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
            documents=np.concatenate([*self._documents, np.empty(0, np.int32)]),
            scores=np.concatenate(scores),
            document_ids=tuple(self._numbers),
        )


def _packed(texts: Iterable[str]) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(list(texts)).encode(), np.uint8)
