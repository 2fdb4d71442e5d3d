"""An experiment as a file: everything a paper's reader needs, and what it takes to repeat it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lsr.errors import UserError
from lsr.eval.experiment import Difference, Experiment
from lsr.eval.published import PublishedRow
from lsr.whole_file import whole_file

FORMAT = 1
# Repeated figures on another processor may differ by the last bits of a sum.
_SAME = 1e-6


def as_record(
    experiment: Experiment, differences: Sequence[Difference], published: Sequence[PublishedRow]
) -> dict[str, Any]:
    """Return an experiment as JSON values: figures of every query, tests, costs, settings, environment."""
    return {
        "format": FORMAT,
        "created": experiment.created,
        "settings": experiment.settings,
        "environment": experiment.environment,
        "metrics": list(experiment.metrics),
        "k": experiment.k,
        "systems": experiment.systems,
        "baseline": experiment.baseline,
        "datasets": [_without_none(asdict(record)) for record in experiment.datasets],
        "rows": [{"name": row.name, "datasets": list(row.datasets)} for row in experiment.rows],
        "failures": [{"dataset": name, "reason": reason} for name, reason in experiment.failures],
        "results": [_result(experiment, name, system) for name, system in experiment.evaluations],
        "means": _means(experiment),
        "differences": [_difference(one) for one in differences],
        "published": [asdict(one) for one in published],
    }


def write_record(
    path: Path, experiment: Experiment, differences: Sequence[Difference], published: Sequence[PublishedRow]
) -> None:
    """Write an experiment as JSON, whole or not at all."""
    with whole_file(path, f"The result {path}", folders=True) as file:
        json.dump(as_record(experiment, differences, published), file, ensure_ascii=False, indent=1)
        file.write("\n")


def _result(experiment: Experiment, name: str, system: str) -> dict[str, Any]:
    evaluation = experiment.evaluations[name, system]
    row = next(row for row in experiment.rows if name in row.datasets)
    intervals = {}
    if len(row.datasets) == 1:
        interval = experiment.interval(system, row, experiment.metrics[0])
        intervals = {experiment.metrics[0]: [interval.low, interval.high]}
    scores = evaluation.scores
    return {
        **evaluation.as_dict(),
        "intervals": intervals,
        "identity": evaluation.settings,
        "from_cache": evaluation.from_cache,
        "per_query": {
            "query_ids": list(scores.query_ids),
            **{
                metric: [round(value, 6) for value in values.tolist()]
                for metric, values in scores.values.items()
            },
        },
    }


def _means(experiment: Experiment) -> dict[str, dict[str, float]]:
    if len(experiment.rows) < 2:
        return {}
    return {
        system: {metric: experiment.value(system, None, metric) for metric in experiment.metrics}
        for system in experiment.systems
    }


def _difference(one: Difference) -> dict[str, Any]:
    comparison = one.comparison
    return {
        "row": one.row,
        "system": one.system,
        "metric": comparison.metric,
        "difference": comparison.test.difference,
        "interval": [comparison.test.interval.low, comparison.test.interval.high],
        "wins": comparison.wins,
        "ties": comparison.ties,
        "losses": comparison.losses,
        "p_randomisation": comparison.test.randomisation,
        "p_randomisation_holm": one.corrected,
        "p_t_test": one.t_tests,
        "p_t_test_holm": one.t_corrected,
        "moved": [move.as_dict() for move in one.moves],
    }


def _without_none(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value is not None}


def read_record(path: Path) -> dict[str, Any]:
    """Read what `write_record` wrote; raises `UserError` where it is something else."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"The result {path} cannot be read: {error.strerror or error}.") from None
    except ValueError:
        raise UserError(f"{path} is no result of lsr eval: it is not JSON.") from None
    if not isinstance(record, dict) or not {"format", "settings", "results"} <= set(record):
        raise UserError(f"{path} is no result of lsr eval -o; name the result.json that it wrote.")
    if record["format"] != FORMAT:
        raise UserError(
            f"{path} was written by a newer lsr (form {record['format']}); update lsr to repeat it."
        )
    return record


@dataclass(frozen=True, slots=True)
class Repetition:
    """A repeated experiment beside the recorded one."""

    figures: int
    """Means that both have: data sets by systems by metrics."""
    same: int
    changed: list[str]
    """A line for each mean that is another now, and for each cause that is known."""


def compare_with_record(experiment: Experiment, record: dict[str, Any]) -> Repetition:
    """Say which means are the same again, and where data sets, models or code are not."""
    figures = same = 0
    changed: list[str] = []
    sums = {one.name: one.checksums.as_dict() for one in experiment.datasets}
    for dataset in record["datasets"]:
        now = sums.get(dataset["name"])
        if now is None:
            changed.append(f"{dataset['name']}: not evaluated now")
        elif parts := [
            name for name in ("documents", "queries", "judgements") if now[name] != dataset["checksums"][name]
        ]:
            changed.append(f"{dataset['name']}: other {' and '.join(parts)} now")
    for result in record["results"]:
        evaluation = experiment.evaluations.get((result["dataset"], result["system"]))
        if evaluation is None:
            continue
        was, now_is = ((one or {}).get("fingerprint") for one in (result["identity"], evaluation.settings))
        if was != now_is:
            changed.append(f"{result['dataset']}, {result['system']}: the model has another fingerprint now")
        for metric, value in evaluation.metrics.items():
            if metric in result:
                figures += 1
                if abs(value - result[metric]) <= _SAME:
                    same += 1
                else:
                    changed.append(
                        f"{result['dataset']}, {result['system']}: {metric} was {result[metric]:.4f}, is {value:.4f}"
                    )
    before, now_code = (
        one.get("code", {}) for one in (record.get("environment", {}), experiment.environment)
    )
    if before.get("ranking_code") != now_code.get("ranking_code"):
        changed.append(
            f"the code is another now (it was {before.get('lsr-search')}, {before.get('ranking_code')})"
        )
    return Repetition(figures, same, changed)
