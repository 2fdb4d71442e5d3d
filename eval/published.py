"""Published figures, shown beside ours where the setting is the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from lsr.eval.experiment import DatasetRecord, Experiment, Row


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One figure that others published, for a row of an experiment."""

    row: str
    system: str
    metric: str
    value: float
    source: str


@cache
def _tables() -> list[dict[str, Any]]:
    import yaml

    text = resources.files("lsr.eval").joinpath("published.yaml").read_text(encoding="utf-8")
    tables: list[dict[str, Any]] = yaml.safe_load(text)
    return tables


def published_for(experiment: Experiment) -> list[PublishedRow]:
    """Return the published figures of an experiment's rows, where documents, queries and rules are the same.

    A data set is one that figures were published of when it comes from ir_datasets, or is a folder of
    that set's name with as many documents, queries and judgements as ir_datasets counts in it; all of
    its queries were searched for, by its own conventions, deep enough for the metric.
    """
    found = []
    for row in experiment.rows:
        known = [_published_id(record) for record in _records(experiment, row)]
        if any(name is None for name in known):
            continue
        name = known[0] if len(row.datasets) == 1 else f"beir/{row.name}"
        found += list(_figures(row, str(name), experiment))
    return found


def _figures(row: Row, name: str, experiment: Experiment) -> Iterator[PublishedRow]:
    for table in _tables():
        metric = table["metric"]
        if name in table["figures"] and metric in experiment.metrics:
            value = float(table["figures"][name])
            yield PublishedRow(row.name, table["system"], metric, value, table["source"])


def _records(experiment: Experiment, row: Row) -> list[DatasetRecord]:
    return [record for record in experiment.datasets if record.name in row.datasets]


def _published_id(record: DatasetRecord) -> str | None:
    """Return the ir_datasets id of a data set that is evaluated as figures of it were published."""
    if record.all_queries is not None:
        return None
    from lsr.eval.conventions import conventions

    name = record.catalogue_id or _same_by_counts(record)
    if name is None or record.conventions != conventions(name):
        return None
    if name == record.source:
        return name
    return name if _counts(name) == _own_counts(record) else None


def _same_by_counts(record: DatasetRecord) -> str | None:
    """Return the id of the BEIR set that a folder's name means, where it counts the same."""
    if record.split not in (None, "test"):
        return None
    for name in (f"beir/{record.name}/test", f"beir/{record.name}/v2", f"beir/{record.name}"):
        if _counts(name) == _own_counts(record):
            return name
    return None


def _own_counts(record: DatasetRecord) -> tuple[int, int, int]:
    sums = record.checksums
    return sums.document_count, sums.query_count, sums.judgement_count


@cache
def _counts(name: str) -> tuple[int, int, int] | None:
    """Return how many documents, queries and judgements ir_datasets counts in a set; None where it does not."""
    import ir_datasets

    known = ir_datasets.registry._registered.get(name)
    if known is None or not known.has_qrels():
        return None
    try:
        metadata = known.docs_metadata(), known.queries_metadata(), known.qrels_metadata()
        documents, queries, judgements = (int(one["count"]) for one in metadata)
    except Exception:  # The catalogue's metadata is a nicety that must not stop a report.
        return None
    return documents, queries, judgements
