"""Runs from anywhere, scored against judgements and compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsr.corpus import Query
from lsr.errors import UserError
from lsr.eval.comparison import Comparison, compare_scores
from lsr.eval.explanations import ExplainedMove, explain_document, explained, shares, title_of
from lsr.eval.metrics import METRICS, Scores, check_metrics, score_rankings
from lsr.eval.qrels import Qrels, read_qrels
from lsr.eval.runs import Run, Ties, read_run
from lsr.eval.significance import Interval, holm, mean_interval

if TYPE_CHECKING:
    from lsr.retrieval import Searcher

_ANY_DEPTH = 10**9


@dataclass(frozen=True, slots=True)
class RunAgainstFirst:
    """A run compared with the first one by the first metric; `corrected` is p after Holm's correction."""

    comparison: Comparison
    corrected: float
    moves: tuple[ExplainedMove, ...]


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Runs on the same judgements."""

    qrels: str
    names: tuple[str, ...]
    metrics: tuple[str, ...]
    scores: tuple[Scores, ...]
    intervals: tuple[Interval, ...]
    """Of the first metric."""
    against_first: tuple[RunAgainstFirst, ...]
    """Of every run but the first."""
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {
            "qrels": self.qrels,
            "queries": len(self.scores[0].query_ids),
            "metrics": list(self.metrics),
            "runs": [
                {
                    "run": name,
                    **scores.mean(),
                    "unjudged@10": scores.unjudged_share,
                    "interval": [interval.low, interval.high],
                }
                for name, scores, interval in zip(self.names, self.scores, self.intervals, strict=True)
            ],
            "against_first": [
                {
                    "run": name,
                    **asdict(one.comparison.test),
                    "interval": [one.comparison.test.interval.low, one.comparison.test.interval.high],
                    "randomisation_holm": one.corrected,
                    "wins": one.comparison.wins,
                    "ties": one.comparison.ties,
                    "losses": one.comparison.losses,
                    "moved": [move.as_dict() for move in one.moves],
                }
                for name, one in zip(self.names[1:], self.against_first, strict=True)
            ],
            "notes": list(self.notes),
        }


def compare_runs(
    runs: Sequence[Path],
    qrels: str | Path,
    *,
    metrics: Sequence[str] | None = None,
    relevant_from: int = 1,
    ties: Ties = "trec_eval",
    moved: int = 5,
    queries: str | Path | None = None,
    index: str | Path | None = None,
) -> RunComparison:
    """Score runs against judgements and compare each with the first.

    Args:
        metrics: by ranx's names; the first is tested.
        relevant_from: the least judgement that MAP, MRR and recall count as relevant.
        ties: how equal scores are ordered, see `lsr.eval.read_run`.
        moved: queries named each way.
        queries: a file with their texts.
        index: an index of ours that explains, with `queries`, by which terms a document is found.

    Raises:
        UserError: for files that are missing or broken, and where a run has no judged query.
    """
    judged = read_qrels(qrels)
    names = tuple(_names(runs))
    chosen = check_metrics(metrics, _ANY_DEPTH) if metrics else METRICS
    read = [read_run(path, ties) for path in runs]
    for path, run in zip(runs, read, strict=True):
        if judged.keys().isdisjoint(run):
            raise UserError(
                f"{path} ranks none of the queries that {qrels} judges; are they of the same data set?"
            )
    rankings = [{query: list(results) for query, results in run.items()} for run in read]
    scores = tuple(score_rankings(judged, one, chosen, relevant_from) for one in rankings)
    texts = _texts(queries)
    with ExitStack() as stack:
        searcher = None
        if index is not None:
            from lsr.retrieval import Searcher

            searcher = stack.enter_context(Searcher(index))
        compared = [compare_scores([scores[0]], [one], chosen[0], moved=moved) for one in scores[1:]]
        corrected = holm([one.test.randomisation for one in compared])
        against = tuple(
            RunAgainstFirst(one, p, _moves(one, judged, rankings[0], rankings[place], texts, searcher))
            for place, (one, p) in enumerate(zip(compared, corrected, strict=True), 1)
        )
    return RunComparison(
        qrels=str(qrels),
        names=names,
        metrics=tuple(chosen),
        scores=scores,
        intervals=tuple(mean_interval([one.values[chosen[0]]]) for one in scores),
        against_first=against,
        notes=tuple(_notes(names, read, judged, chosen)),
    )


def _moves(
    comparison: Comparison,
    judged: Qrels,
    first: Mapping[str, list[str]],
    second: Mapping[str, list[str]],
    texts: Mapping[str, str],
    searcher: Searcher | None,
) -> tuple[ExplainedMove, ...]:
    found = []
    for moved in (*comparison.gained, *comparison.lost):
        query_id = moved.query_id
        rankings = first.get(query_id, []), second.get(query_id, [])
        move = explained(moved, texts.get(query_id), judged[query_id], rankings)
        if searcher is not None and move.document_id is not None and move.query is not None:
            move = replace(move, **_from_index(searcher, Query(query_id, move.query), move.document_id))
        found.append(move)
    return tuple(found)


def _from_index(searcher: Searcher, query: Query, document_id: str) -> dict[str, Any]:
    """Return a document's title and terms; they are the index's, not either run's."""
    parts = explain_document(searcher, query, document_id)
    if parts is None:
        return {}
    (number,) = searcher.index.document_numbers([document_id]).tolist()
    (stored,) = searcher.index.documents([number])
    return {"title": title_of(stored.title, stored.text or ""), "second_terms": shares(parts)}


def _names(runs: Sequence[Path]) -> list[str]:
    """Return the runs' file names, or paths where names are the same."""
    counts = Counter(path.name for path in runs)
    return [path.name if counts[path.name] == 1 else str(path) for path in runs]


def _texts(queries: str | Path | None) -> dict[str, str]:
    if queries is None:
        return {}
    from lsr.corpus import read_queries

    return {query.id: query.text for query in read_queries(queries)}


def _notes(names: Sequence[str], runs: Sequence[Run], judged: Qrels, metrics: Sequence[str]) -> list[str]:
    notes = []
    deepest = max(int(metric.partition("@")[2] or 0) for metric in metrics)
    for name, run in zip(names, runs, strict=True):
        missing = len(judged.keys() - run.keys())
        if missing:
            notes.append(f"{name} lacks {missing:,} of {len(judged):,} judged queries, which count as 0")
        depth = max(map(len, run.values()))
        if depth < deepest:
            notes.append(
                f"{name} ranks at most {depth:,} documents; metrics that look deeper see those alone"
            )
    return notes
