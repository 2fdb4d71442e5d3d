"""Long documents in passages: a system searches passages, documents are ranked by theirs.

Dai & Callan, "Deeper Text Understanding for IR with Contextual Neural Language Modeling", SIGIR 2019
(doi:10.1145/3331184.3331303): passages of 150 words every 75 words, the title put before each; a
document's score is that of its best passage (MaxP), of its first (FirstP), or the sum (SumP).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lsr.corpus import Document
from lsr.errors import UserError
from lsr.eval.datasets import Dataset
from lsr.eval.rankings import Scored
from lsr.eval.systems.base import Encoded, Engine, Sizes, System, Touched, Workspace

if TYPE_CHECKING:
    from lsr.corpus import Query, ReadReport
    from lsr.retrieval import TermScore

Aggregate = Literal["max", "first", "sum"]
AGGREGATES: tuple[Aggregate, ...] = ("max", "first", "sum")

# Between a document's id and its passage's number; ids are looked up from the right.
_MARK = "#"


@dataclass(frozen=True, slots=True)
class PassageOptions:
    """How documents are cut, in words between white space, and put together again."""

    words: int = 150
    stride: int = 75
    aggregate: Aggregate = "max"

    def __post_init__(self) -> None:
        if self.words < 1 or not 1 <= self.stride <= self.words:
            raise UserError(
                f"Passages of {self.words} words every {self.stride} words leave words out or none in; "
                "give at least 1 word and a stride of 1 up to the words, as in passages=150/75."
            )
        if self.aggregate not in AGGREGATES:
            raise UserError(f"aggregate={self.aggregate} is not among {', '.join(AGGREGATES)}.")


def passages_of(document: Document, options: PassageOptions) -> Iterator[Document]:
    """Yield a document's passages, each with its title; an empty document is one empty passage."""
    if document.vector is not None:
        raise UserError(f"{document.location or document.id}: a vector cannot be cut into passages.")
    words = document.text.split()
    for number, first in enumerate(range(0, max(len(words), 1), options.stride)):
        text = " ".join(words[first : first + options.words])
        yield Document(f"{document.id}{_MARK}{number}", text, document.title, location=document.location)
        if first + options.words >= len(words) or options.aggregate == "first":
            return


class PassageSystem:
    """Another system over passages."""

    def __init__(self, system: System, options: PassageOptions, label: str, spec: str) -> None:
        self.label = label
        self.spec = spec
        self._system = system
        self._options = options

    def identity(self) -> dict[str, Any]:
        """Return the system's identity and how documents are cut."""
        options = self._options
        return {
            **self._system.identity(),
            "passages": [options.words, options.stride, options.aggregate],
        }

    def open(self, workspace: Workspace) -> Engine:
        """Open the system on the data set's passages."""
        options = self._options
        dataset = workspace.dataset

        def documents(report: ReadReport) -> Iterator[Document]:
            for document in dataset.documents(report):
                yield from passages_of(document, options)

        cut = (
            f"{workspace.checksums.documents} {options.words}/{options.stride} {options.aggregate == 'first'}"
        )
        checksums = replace(workspace.checksums, documents=hashlib.sha256(cut.encode()).hexdigest())
        passages: Dataset = replace(dataset, documents=documents, document_count=None)
        inner = self._system.open(replace(workspace, dataset=passages, checksums=checksums))
        return PassageEngine(inner, options, workspace.checksums.document_count)


class PassageEngine:
    """An engine over passages whose rankings are of documents."""

    def __init__(self, engine: Engine, options: PassageOptions, document_count: int) -> None:
        self._engine = engine
        self._options = options
        self.encoder = engine.encoder
        self.document_count = document_count
        self.index_bytes = engine.index_bytes
        self.times = engine.times
        self.encodes_queries = engine.encodes_queries
        self.notes: tuple[str, ...] = (
            *engine.notes,
            f"{engine.document_count:,} passages of {options.words} words every {options.stride}, "
            f"aggregated by {options.aggregate}",
        )

    def encode(self, queries: Sequence[Query]) -> Encoded:
        """Return queries as the system takes them."""
        return self._engine.encode(queries)

    def search(self, encoded: Encoded, k: int, threads: int) -> list[Scored]:
        """Return the k best documents of each query.

        Passages are searched deeper until there are k documents, so MaxP and FirstP are exact; SumP
        adds up the passages that were found by then.
        """
        count = encoded.shape[0] if hasattr(encoded, "shape") else len(encoded)
        results: list[Scored | None] = [None] * count
        left = list(range(count))
        depth = k if self._options.aggregate == "first" else 3 * k
        while left:
            batch = [encoded[place] for place in left] if isinstance(encoded, list) else encoded[left]
            still = []
            for place, (ids, scores) in zip(left, self._engine.search(batch, depth, threads), strict=True):
                documents = self._aggregated(ids, scores)
                if len(documents[0]) >= k or len(ids) < depth:
                    results[place] = documents[0][:k], documents[1][:k]
                else:
                    still.append(place)
            left, depth = still, 4 * depth
        return [result for result in results if result is not None]

    def _aggregated(self, ids: list[str], scores: Any) -> Scored:
        totals: dict[str, float] = {}
        add = self._options.aggregate == "sum"
        for passage, score in zip(ids, scores.tolist(), strict=True):
            document = passage.rpartition(_MARK)[0]
            if document not in totals:
                totals[document] = score
            elif add:
                totals[document] += score
        # Stable: equal scores are in the order of their best passages.
        ranked = sorted(totals.items(), key=lambda item: -item[1]) if add else list(totals.items())
        return [document for document, _ in ranked], np.array([score for _, score in ranked], np.float32)

    def sizes(self, encoded: Encoded) -> Sizes:
        """Return terms and FLOPS, of passages."""
        return self._engine.sizes(encoded)

    def touched(self, encoded: Encoded, k: int) -> Touched:
        """Return what a search of three times as many passages reads, the first that is made."""
        return self._engine.touched(encoded, k if self._options.aggregate == "first" else 3 * k)

    def explain(self, query: Query, document_id: str) -> list[TermScore] | None:
        """Return the terms of the document's best passage among those that terms explain."""
        best: list[TermScore] | None = None
        number = 0
        while (found := self._engine.explain(query, f"{document_id}{_MARK}{number}")) is not None:
            if best is None or sum(part.score for part in found) > sum(part.score for part in best):
                best = found
            number += 1
        return best

    def close(self) -> None:
        """Close the system."""
        self._engine.close()
