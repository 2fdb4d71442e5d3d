"""Running an experiment, data set by data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lsr.corpus import Query
from lsr.errors import UserError
from lsr.eval.cache import Cache
from lsr.eval.comparison import moved_queries
from lsr.eval.dataset_run import DatasetRun, RunOptions
from lsr.eval.datasets import Dataset, load_member
from lsr.eval.environment import code_version, library_versions, machine
from lsr.eval.evaluation import Evaluation
from lsr.eval.experiment import Experiment
from lsr.eval.explanations import ExplainedMove, TermShare, explained, shares, title_of
from lsr.eval.judged_documents import texts_of
from lsr.eval.metrics import metrics_at_depth
from lsr.eval.suites import Member
from lsr.eval.systems.base import DerivedSystem, System
from lsr.eval.systems.specs import check_labels
from lsr.index.errors import IndexProblem

if TYPE_CHECKING:
    from lsr.corpus import Document

# A corpus is read once more for the titles of documents that explain moves, unless it is large.
_MOST_DOCUMENTS_READ_AGAIN = 1_000_000


def run_experiment(
    datasets: Sequence[Member | Dataset],
    systems: Sequence[System | DerivedSystem],
    *,
    cache: Cache,
    options: RunOptions | None = None,
    metrics: Sequence[str] | None = None,
    baseline: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    keep: bool = True,
    settings: dict[str, Any] | None = None,
    on_result: Callable[[Evaluation], None] = lambda evaluation: None,
    on_failure: Callable[[str, str], None] = lambda name, reason: None,
) -> Experiment:
    """Evaluate every system on every data set, and return what was measured.

    A data set that cannot be loaded or searched is told to `on_failure`, noted and passed over. Where the
    user interrupts, what was measured by then is returned.
    Systems that are made of others come after them. With `keep`, what each system found on each data
    set is kept in the cache and taken from there.

    Args:
        metrics: by ranx's names; the first is tested for significance.
        baseline: the label of the system that others are compared with, the first unless given.
        limit: at most so many queries of each data set.
        settings: recorded with the experiment.
        on_result: called as each system is done with a data set.

    Raises:
        UserError: for mistakes in the systems, before anything is measured.
    """
    options = options or RunOptions()
    check_labels(systems)
    if not systems:
        raise UserError("There is no system to evaluate.")
    labels = [system.label for system in systems]
    if baseline is not None and baseline not in labels:
        raise UserError(f"--baseline {baseline} is no system here; they are {', '.join(labels)}.")
    for system in systems:
        system.identity()  # Loads what there is to load: a missing model is told before hours of work.
    experiment = Experiment(
        systems=labels,
        baseline=baseline or labels[0],
        metrics=tuple(metrics or metrics_at_depth(options.k)),
        k=options.k,
        settings=settings or {},
    )
    for entry in datasets:
        name = entry.source if isinstance(entry, Member) else entry.name
        try:
            dataset = load_member(entry, split) if isinstance(entry, Member) else entry
            name = dataset.name
            if any(record.name == name for record in experiment.datasets):
                raise UserError(f"Another data set is called {name} too; evaluate them one at a time.")
            with DatasetRun(dataset.limited(limit), systems, cache, options, keep) as run:
                _run_dataset(run, systems, experiment, options, on_result)
        except (UserError, IndexProblem, OSError, MemoryError) as error:
            experiment.failures.append((name, _told(error)))
            on_failure(name, _told(error))
        except KeyboardInterrupt:
            experiment.interrupted = True
            break
    experiment.environment = {
        "code": code_version(),
        "libraries": library_versions(),
        "machine": machine(),
    }
    return experiment


def _told(error: Exception) -> str:
    """Return what went wrong, as a sentence: what was measured before it is not to be lost."""
    if isinstance(error, MemoryError):
        return "memory ran out; try a smaller --batch-size."
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{(error.strerror or str(error)).rstrip('.')}."
    return str(error)


def _run_dataset(
    run: DatasetRun,
    systems: Sequence[System | DerivedSystem],
    experiment: Experiment,
    options: RunOptions,
    on_result: Callable[[Evaluation], None],
) -> None:
    evaluations = []
    for system in systems:
        evaluations.append(run.evaluate(system, experiment.metrics))
        on_result(evaluations[-1])
    # A row of a table is complete or not there.
    name = run.dataset.name
    experiment.datasets.append(run.record)
    experiment.evaluations.update({(name, one.system): one for one in evaluations})
    moves = _moves(run, systems, experiment, options.moved)
    experiment.moves.update({(name, label): found for label, found in moves.items()})


def _moves(
    run: DatasetRun, systems: Sequence[System | DerivedSystem], experiment: Experiment, count: int
) -> dict[str, tuple[ExplainedMove, ...]]:
    """Return for each system but the baseline the queries that moved most, explained."""
    queries = {query.id: query for query in run.dataset.queries}
    places = {query_id: place for place, query_id in enumerate(run.dataset.qrels)}
    by_label = {system.label: system for system in systems}
    baseline = experiment.baseline
    moves: dict[str, list[ExplainedMove]] = {}
    for label in experiment.others:
        gained, lost = moved_queries(run.scores[baseline], run.scores[label], experiment.metrics[0], count)
        moves[label] = []
        for moved in (*gained, *lost):
            query = queries[moved.query_id]
            rankings = [_ranking(run, one, places, moved.query_id) for one in (baseline, label)]
            judged = run.dataset.qrels[moved.query_id]
            moves[label].append(explained(moved, query.text, judged, (rankings[0], rankings[1])))
    texts = _texts(run, moves)
    done: dict[str, tuple[ExplainedMove, ...]] = {}
    for label, found in moves.items():
        done[label] = tuple(
            replace(
                move,
                title=_title(texts, move.document_id),
                first_terms=_terms(run, by_label[baseline], queries[move.query_id], move),
                second_terms=_terms(run, by_label[label], queries[move.query_id], move),
            )
            for move in found
        )
    return done


def _ranking(run: DatasetRun, label: str, places: dict[str, int], query_id: str) -> list[str]:
    rankings = run.found[label].rankings
    place = places[query_id]
    if rankings.query_ids[place] != query_id:  # Both are in the order of the data set's queries.
        place = rankings.query_ids.index(query_id)
    return rankings.ranking(place)[0]


def _texts(run: DatasetRun, moves: dict[str, list[ExplainedMove]]) -> dict[str, Document]:
    wanted = {move.document_id for found in moves.values() for move in found if move.document_id is not None}
    if not wanted or run.checksums.document_count > _MOST_DOCUMENTS_READ_AGAIN:
        return {}
    return texts_of(run.dataset, wanted)


def _title(texts: dict[str, Document], document_id: str | None) -> str | None:
    document = texts.get(document_id) if document_id is not None else None
    return None if document is None else title_of(document.title, document.text)


def _terms(
    run: DatasetRun, system: System | DerivedSystem, query: Query, move: ExplainedMove
) -> tuple[TermShare, ...] | None:
    if move.document_id is None or not isinstance(system, System):
        return None
    try:
        return shares(run.engine(system).explain(query, move.document_id))
    except (UserError, IndexProblem):
        return None
