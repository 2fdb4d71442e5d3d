"""All systems on one data set, going on from what earlier runs kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsr.eval.cache import Cache
from lsr.eval.checksums import checksums
from lsr.eval.datasets import Dataset, other_split
from lsr.eval.evaluation import Cost, Evaluation
from lsr.eval.experiment import DatasetRecord
from lsr.eval.judged_documents import check_relevant
from lsr.eval.measured_search import latency_of, measure
from lsr.eval.metrics import Judge, Scores
from lsr.eval.progress import Progress, silent
from lsr.eval.rankings import Rankings
from lsr.eval.runs import RunWriter
from lsr.eval.systems.base import Derived, DerivedSystem, Engine, System, Workspace
from lsr.eval.systems.fusion import FusedSystem, Tuning

_RANKINGS = "rankings.npz"
_RECORD = "record.json"
# Of what is kept. Another one is measured anew.
_FORMAT = 2


@dataclass(frozen=True)
class RunOptions:
    """How an experiment is run, the same for all its systems.

    `fresh` searches anew what an earlier run searched; documents that were encoded stay encoded.
    `drop_query_document` overrides the data sets' conventions. `index` is for one system of ours: a
    function from a data set to the folder of its index, as `run_path` is one from a data set and a
    system's label to a file for the ranking.
    """

    k: int = 1000
    threads: int = 1
    drop_query_document: bool | None = None
    fresh: bool = False
    moved: int = 5
    """Queries named each way where two systems differ."""
    index: Callable[[Dataset], Path] | None = None
    run_path: Callable[[Dataset, str], Path | None] = lambda dataset, label: None
    progress: Progress = silent


@dataclass(frozen=True)
class Found:
    """What one system found on one data set, from an earlier run or this one."""

    rankings: Rankings
    cost: Cost
    milliseconds: NDArray[np.float64]
    """As in `Measured`."""
    record: dict[str, Any]
    """The system's name, identity and tuned parameters, notes."""
    key: dict[str, Any]
    kept: bool


class DatasetRun:
    """All systems on one data set."""

    def __init__(
        self,
        dataset: Dataset,
        systems: Sequence[System | DerivedSystem],
        cache: Cache,
        options: RunOptions,
        keep: bool = True,
    ) -> None:
        check_relevant(dataset)
        self.dataset = dataset
        self._systems = systems
        self._cache = cache
        self._keep = keep
        self._options = options
        rules = dataset.conventions
        if options.drop_query_document is not None:
            rules = replace(rules, drop_query_document=options.drop_query_document)
        self.rules = rules
        self.checksums = checksums(dataset, cache, options.progress)
        self.record = DatasetRecord.of(dataset, self.checksums, rules)
        self._workspace = Workspace(
            dataset,
            self.checksums,
            cache,
            options.threads,
            options.progress,
            options.index(dataset) if options.index else None,
        )
        index = self._workspace.index
        self._given = index is not None and index.exists()
        self._engines = ExitStack()
        self._open: dict[str, Engine] = {}
        self.found: dict[str, Found] = {}
        self.scores: dict[str, Scores] = {}

    def __enter__(self) -> DatasetRun:
        return self

    def __exit__(self, *error: object) -> None:
        self._engines.close()

    def evaluate(self, system: System | DerivedSystem, metrics: Sequence[str]) -> Evaluation:
        """Return a system's figures; the systems that a derived one is made of must have been evaluated."""
        writer_path = self._options.run_path(self.dataset, system.label)
        with ExitStack() as stack:
            # Opened first: a run that cannot be written must not cost an hour of encoding.
            writer = (
                None if writer_path is None else stack.enter_context(RunWriter(writer_path, system.label))
            )
            found = self._find(system)
            judge = Judge(self.dataset.qrels, self.rules.relevant_from)
            for query_id, ids, scores in found.rankings:
                judge.add(query_id, ids)
                if writer is not None:
                    writer.write(query_id, ids, scores)
            self.found[system.label] = found
            self.scores[system.label] = judge.scores(metrics)
        notes = (*self._notes(), *found.record["notes"])
        if (
            self._given
            and metrics
            and not any(one.any() for one in self.scores[system.label].values.values())
        ):
            where = self._workspace.index
            notes += (f"no relevant document was found: is {where} an index of {self.dataset.name}?",)
        return Evaluation(
            dataset=self.dataset.name,
            system=system.label,
            encoder=str(found.record["encoder"]),
            queries=len(self.dataset.queries),
            k=self._options.k,
            scores=self.scores[system.label],
            cost=found.cost,
            group=self.dataset.group,
            settings={"spec": system.spec, **found.record["identity"], **found.record["parameters"]},
            run=writer_path,
            notes=notes,
            from_cache=found.kept,
        )

    def _notes(self) -> tuple[str, ...]:
        absent = self.checksums.absent_documents
        if not absent:
            return self.dataset.notes
        judged = len({name for judged in self.dataset.qrels.values() for name in judged})
        note = (
            f"{absent:,} of {judged:,} judged documents are not in the corpus; "
            "the relevant ones among them count as not retrieved"
        )
        return (*self.dataset.notes, note)

    def _find(self, system: System | DerivedSystem) -> Found:
        key: dict[str, Any] = {
            "format": _FORMAT,
            "identity": system.identity(),
            "documents": self.checksums.documents,
            "queries": self.checksums.queries,
            "k": self._options.k,
            "drop_query_document": self.rules.drop_query_document,
        }
        if not isinstance(system, System):
            key["parts"] = [self.found[label].key for label in system.parts]
            key["judgements"] = self.checksums.judgements
        key = json.loads(json.dumps(key))
        # Systems of one identity share what was found, whatever they are called.
        identity = key["identity"]
        label = f"{self.dataset.file_name}.{identity.get('encoder') or identity['kind']}"
        place = self._cache.path("results", label, key)
        # A user's own index is not what the key describes.
        keep = self._keep and self._workspace.index is None
        if keep and not self._options.fresh and (place / "key.json").exists():
            return _loaded(place, key)
        found = self._measured(system, key) if isinstance(system, System) else self._derived(system, key)
        if keep:
            if self._options.fresh:
                self._cache.drop("results", label, key)
            self._cache.entry("results", label, key, lambda draft: _save(draft, found))
        return found

    def _measured(self, system: System, key: dict[str, Any]) -> Found:
        engine = self.engine(system)
        measured = measure(
            engine,
            self.dataset,
            self._options.k,
            drop_query_document=self.rules.drop_query_document,
            threads=self._options.threads,
            progress=self._options.progress,
        )
        record = {
            "encoder": engine.encoder,
            "identity": key["identity"],
            "parameters": {},
            "notes": list(engine.notes),
        }
        return Found(measured.rankings, measured.cost, measured.milliseconds, record, key, kept=False)

    def _derived(self, system: DerivedSystem, key: dict[str, Any]) -> Found:
        parts = [self.found[label] for label in system.parts]
        rankings = [part.rankings for part in parts]
        notes: tuple[str, ...] = ()
        if isinstance(system, FusedSystem):
            tuning, notes = self._tuning(system)
            derived = system.derive(self._workspace, rankings, self._options.k, tuning)
        else:
            derived = system.derive(self._workspace, rankings, self._options.k)
        record = {
            "encoder": " + ".join(str(part.record["encoder"]) for part in parts),
            "identity": {**key["identity"], "parts": list(system.parts)},
            "parameters": derived.parameters,
            "notes": [*derived.notes, *notes],
        }
        milliseconds = np.sum([part.milliseconds for part in parts], axis=0)
        if derived.query_milliseconds is not None:
            milliseconds = milliseconds + derived.query_milliseconds
        cost = _added([part.cost for part in parts], derived, milliseconds)
        return Found(derived.rankings, cost, milliseconds, record, key, kept=False)

    def _tuning(self, system: FusedSystem) -> tuple[Tuning | None, tuple[str, ...]]:
        """Return what the parts find for the queries of another split, where the fusion asks for one."""
        if system.split is None:
            return None, ()
        other = other_split(self.dataset, system.split)
        if other is None:
            note = f"there is no split {system.split}: the weights of {system.label} are cross-validated"
            return None, (note,)
        options = replace(self._options, run_path=lambda dataset, label: None)
        with DatasetRun(other, self._systems, self._cache, options, self._keep) as run:
            for part in self._systems:
                if self._needs(system, part.label):
                    run.evaluate(part, ())
            rankings = [run.found[label].rankings for label in system.parts]
        return Tuning(other.qrels, rankings), ()

    def _needs(self, system: System | DerivedSystem, label: str) -> bool:
        parts = () if isinstance(system, System) else system.parts
        by_label = {one.label: one for one in self._systems}
        return any(part == label or self._needs(by_label[part], label) for part in parts)

    def engine(self, system: System) -> Engine:
        """Return a system opened on the data set, once."""
        if system.label not in self._open:
            engine = system.open(self._workspace)
            self._engines.callback(engine.close)
            self._open[system.label] = engine
        return self._open[system.label]


def _added(costs: Sequence[Cost], derived: Derived, milliseconds: NDArray[np.float64]) -> Cost:
    """Return the cost of a system that needs all others: what adds up is added up."""

    def total(name: str) -> Any:
        values = [getattr(cost, name) for cost in costs]
        return None if any(value is None for value in values) else sum(values)

    names = ("mean_document_terms", "mean_query_terms", "flops", "postings", "blocks", "index_bytes")
    seconds = ("index_seconds", "encode_seconds", "query_encode_seconds")
    search = total("search_seconds")
    return replace(
        costs[0],
        **{name: total(name) for name in (*names, *seconds)},
        algorithm=None,
        search_seconds=None if search is None else search + derived.seconds,
        latency=latency_of(milliseconds[0]),
        answer=latency_of(milliseconds[1]),
    )


def _save(draft: Path, found: Found) -> None:
    found.rankings.save(draft / _RANKINGS)
    record = {
        "record": found.record,
        "cost": found.cost.as_dict(),
        "milliseconds": found.milliseconds.tolist(),
    }
    (draft / _RECORD).write_text(json.dumps(record), encoding="utf-8")


def _loaded(place: Path, key: dict[str, Any]) -> Found:
    record = json.loads((place / _RECORD).read_text(encoding="utf-8"))
    return Found(
        Rankings.load(place / _RANKINGS),
        Cost.from_dict(record["cost"]),
        np.array(record["milliseconds"]),
        record["record"],
        key,
        kept=True,
    )
