"""An index that does as a test wants, for what an application does on its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from lsr.corpus import Document
from lsr.serving.interface import (
    Answer,
    Change,
    Explanation,
    IndexInfo,
    Query,
    Result,
    SearchOptions,
    ServedDocument,
    Side,
    TermWeight,
)


class StubIndex:
    """Finds one document for every query, after doing `before`."""

    def __init__(self, before: Callable[[], None] = lambda: None, text: str = "text") -> None:
        self.before = before
        self.text = text
        self.closed = threading.Event()
        self.searches = 0
        self.missing: list[str] = []

    def info(self) -> IndexInfo:
        return IndexInfo(
            name="stub",
            documents=1,
            deleted=0,
            segments=1,
            postings=1,
            vocabulary_size=1,
            impact_bits=8,
            bytes=1,
            created="now",
            encoder="bm25",
            encoder_kind="bm25",
            query_model=False,
            texts=True,
            fields={},
            missing_shards=self.missing,
        )

    def check(self) -> None:
        self.before()

    def search(self, queries: Sequence[Query], options: SearchOptions) -> Answer:
        self.searches += 1
        self.before()
        results = [[Result("one", 1.0, text=self.text)] for _ in queries]
        return Answer(results, 1, 0.001, 0.002, self.missing)

    def explain(self, query: Query, document_id: str) -> Explanation:
        raise NotImplementedError

    def documents(self, ids: Sequence[str]) -> list[ServedDocument | None]:
        return [None for _ in ids]

    def encode(self, texts: Sequence[str], side: Side) -> list[list[TermWeight]]:
        return [[] for _ in texts]

    def add(self, documents: Sequence[Document]) -> Change:
        self.before()
        return Change(len(documents), 0, 0, len(documents))

    def update(self, documents: Sequence[Document]) -> Change:
        return self.add(documents)

    def delete(self, ids: Sequence[str], *, skip_missing: bool) -> Change:
        self.before()
        return Change(0, 0, len(ids), 0)

    def close(self) -> None:
        self.closed.set()
