"""Why a query moved: the document whose rank changed most, and the terms that two systems found it by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from scipy import sparse

from lsr.corpus import Query
from lsr.eval.comparison import Moved

if TYPE_CHECKING:
    from lsr.retrieval import Searcher, TermScore

_TITLE_LENGTH = 100


@dataclass(frozen=True, slots=True)
class TermShare:
    """What one term earned a document, and whether query and document hold it themselves."""

    term: str
    score: float
    in_query: bool


@dataclass(frozen=True, slots=True)
class ExplainedMove:
    """A query that two systems differ on, and the judged document that shows it best.

    Ranks are from 1, None where a document was not retrieved. Terms are None for a system without terms,
    and empty where no term matched.
    """

    query_id: str
    query: str | None
    first: float
    second: float
    document_id: str | None
    title: str | None
    judgement: int | None
    first_rank: int | None
    second_rank: int | None
    first_terms: tuple[TermShare, ...] | None
    second_terms: tuple[TermShare, ...] | None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def telling_document(
    judged: Mapping[str, int], first: Sequence[str], second: Sequence[str], *, gained: bool
) -> tuple[str, int | None, int | None] | None:
    """Return the relevant document whose place changed most in the direction of the move, and its ranks.

    The change is that of its share of a reciprocal rank, weighed by its judgement. None where no
    relevant document was found by either.
    """
    ranks = [{name: rank for rank, name in enumerate(ranking, 1)} for ranking in (first, second)]
    best: tuple[float, str] | None = None
    for name, score in judged.items():
        if score <= 0:
            continue
        before, after = (score / one[name] if name in one else 0.0 for one in ranks)
        change = after - before if gained else before - after
        if change > 0 and (best is None or change > best[0]):
            best = change, name
    if best is None:
        return None
    return best[1], ranks[0].get(best[1]), ranks[1].get(best[1])


def title_of(title: str, text: str) -> str:
    """Return a document's title, or how its text begins."""
    shown = " ".join((title or text).split())
    return shown if len(shown) <= _TITLE_LENGTH else shown[: _TITLE_LENGTH - 1].rstrip() + "…"


def explained(
    moved: Moved,
    query: str | None,
    judged: Mapping[str, int],
    rankings: tuple[Sequence[str], Sequence[str]],
) -> ExplainedMove:
    """Return a move with its telling document, terms and title left out."""
    found = telling_document(judged, *rankings, gained=moved.difference > 0)
    document_id, first_rank, second_rank = found or (None, None, None)
    return ExplainedMove(
        query_id=moved.query_id,
        query=query,
        first=moved.first,
        second=moved.second,
        document_id=document_id,
        title=None,
        judgement=judged.get(document_id) if document_id is not None else None,
        first_rank=first_rank,
        second_rank=second_rank,
        first_terms=None,
        second_terms=None,
    )


def explain_document(
    searcher: Searcher, query: Query, document_id: str, weights: sparse.csr_array | None = None
) -> list[TermScore] | None:
    """Return what each term of a query earned a document, the most first; None where there is none of that id."""
    from lsr.retrieval import Hit

    number = int(searcher.index.document_numbers([document_id])[0])
    if number < 0:
        return None
    (stored,) = searcher.index.documents([number])
    hit = Hit(number, stored.id, 0.0, stored.title, stored.text, stored.metadata)
    if weights is None and query.vector is not None:
        weights = searcher.vector_queries([query.vector])
    return searcher.explain(query.text, hit, weights)


def shares(parts: Sequence[TermScore] | None, count: int = 8) -> tuple[TermShare, ...] | None:
    """Return the first terms of an explanation."""
    if parts is None:
        return None
    return tuple(TermShare(part.term, part.score, part.in_query) for part in parts[:count])
