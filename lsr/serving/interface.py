"""What the HTTP service serves: something that is searched and changed like one index.

`lsr.serving.local.LocalIndex` is one index in a folder of this machine; a cluster of shards can be
another. The service calls the methods from threads of its own, several at a time, and turns what they
return into JSON as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from lsr.corpus import Document
from lsr.retrieval import TermScore

Include = Literal["title", "snippet", "marks", "text", "metadata", "terms"]
Side = Literal["query", "document"]


class Refusal(Exception):
    """A request that cannot be done, told in one sentence for the one who asked.

    The sentence names nothing of the file system. `status` is the HTTP status that says the same.
    """

    status = 422


class NotFound(Refusal):
    """There is no such index or document."""

    status = 404


class Conflict(Refusal):
    """The state of the index is against it: an id is taken, say."""

    status = 409


class Unavailable(Refusal):
    """Not now: too much to do, another process is writing, or the index cannot be read."""

    status = 503


class Query(NamedTuple):
    """A query: its text, or term weights that were computed elsewhere."""

    text: str | None = None
    vector: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How a query, or a batch of them, is answered.

    Args:
        k: results wanted.
        where: a filter over the documents' fields, see `lsr.index.filters`.
        include: what results hold beside id and score.
        seconds: a filter that takes longer is stopped.
    """

    k: int = 10
    where: str | None = None
    include: frozenset[Include] = frozenset(("title", "text", "metadata"))
    seconds: float = 30.0


@dataclass(frozen=True)
class EarnedTerm(TermScore):
    """What one term earned; `word` is the word of the query that it comes from, as written there.

    A word may have several terms: its pieces and one of its own. None for a term that the query's text does not
    hold, and for queries of weights.
    """

    word: str | None = None


@dataclass(slots=True)
class Mark:
    """A piece of a text that holds a matched term: characters `start` to `end`, in Unicode code points.

    `term` is the term there that earned most and `score` what it earned the document; `expansion` says
    that the query's encoder added it, and the query's own words don't hold it.
    """

    start: int
    end: int
    term: str
    score: float
    expansion: bool


@dataclass(slots=True)
class Result:
    """One document found. `score` is exact; what was not asked for, or was not stored, is absent.

    `snippet` is the part of the text that says most about why it was found, `terms` what each term
    earned (weight * impact = score), the most first.
    """

    id: str
    score: float
    title: str | None = None
    title_marks: list[Mark] | None = None
    snippet: str | None = None
    snippet_marks: list[Mark] | None = None
    text: str | None = None
    metadata: dict[str, Any] | None = None
    terms: list[EarnedTerm] | None = None


@dataclass(slots=True)
class Answer:
    """The results of each query, best first, and what finding them took.

    `documents` is how many there are in all; `missing_shards` names parts of the index that did not
    answer: the results are those of the rest.
    """

    results: list[list[Result]]
    documents: int
    encode_seconds: float
    search_seconds: float
    missing_shards: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ServedDocument:
    """A document as it is stored; `text` is absent where texts are not."""

    id: str
    title: str
    text: str | None
    metadata: dict[str, Any]


@dataclass(slots=True)
class TermWeight:
    """A term of an encoded text; `expansion` says that the text itself does not hold it."""

    term: str
    weight: float
    expansion: bool


@dataclass(slots=True)
class Explanation:
    """A document, whatever its rank for a query, and what its score is made of.

    The marks are those of the title and of the whole text.
    """

    document: ServedDocument
    score: float
    terms: list[EarnedTerm]
    title_marks: list[Mark]
    text_marks: list[Mark]


@dataclass(slots=True)
class Change:
    """What a change came to: documents added, replaced and deleted, and all there are now.

    `saturated` counts term weights above what the index can hold, stored as its highest; `empty`
    documents without any term, which cannot be found; `cut` documents longer than the encoder reads;
    `notes` say in words what a person should know.
    """

    added: int
    replaced: int
    deleted: int
    documents: int
    empty: int = 0
    cut: int = 0
    saturated: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class IndexInfo:
    """What an index holds.

    `fields` are what filters can ask about, with their types; `query_model` says that a model runs on
    every query, which makes a query cost milliseconds; `texts` whether texts are stored; `shards` how
    many parts the index has and `missing_shards` which of them are away.
    """

    name: str
    documents: int
    deleted: int
    segments: int
    postings: int
    vocabulary_size: int
    impact_bits: int
    bytes: int
    created: str
    encoder: str
    encoder_kind: str
    query_model: bool
    texts: bool
    fields: dict[str, str]
    shards: int = 1
    missing_shards: list[str] = field(default_factory=list)


class ServedIndex(Protocol):
    """An index as the service sees it. Methods block, and are safe to call from several threads.

    Raises:
        Refusal: what the one who asked can mend, or wait for. Anything else is the service's own
            failure, and told to nobody but the log.
    """

    def info(self) -> IndexInfo:
        """Return what the index holds now."""

    def check(self) -> None:
        """Raise `Unavailable` where searches would fail."""

    def search(self, queries: Sequence[Query], options: SearchOptions) -> Answer:
        """Return the best documents of each query."""

    def explain(self, query: Query, document_id: str) -> Explanation:
        """Return what each term of a query earns one document."""

    def documents(self, ids: Sequence[str]) -> list[ServedDocument | None]:
        """Return stored documents by id, None for an id that no document has."""

    def encode(self, texts: Sequence[str], side: Side) -> list[list[TermWeight]]:
        """Return the terms of each text, the heaviest first."""

    def add(self, documents: Sequence[Document]) -> Change:
        """Add documents; an id that is there already is a `Conflict`, and nothing is added then."""

    def update(self, documents: Sequence[Document]) -> Change:
        """Put documents in the place of those with their ids; new ids are added."""

    def delete(self, ids: Sequence[str], *, skip_missing: bool) -> Change:
        """Delete documents; an id that is not there is `NotFound`, unless it may be missing."""

    def close(self) -> None:
        """Close what is open, when no call is under way any more."""
