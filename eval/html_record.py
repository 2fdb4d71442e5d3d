"""The report's last part: what it takes to repeat the figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from lsr.eval.experiment import DatasetRecord, Experiment


def record_section(experiment: Experiment) -> str:
    """Return data sets with checksums, systems with fingerprints, versions and the machine."""
    return _datasets(experiment) + _systems(experiment) + _environment(experiment) + _notes(experiment)


def _datasets(experiment: Experiment) -> str:
    body = "".join(_dataset(record) for record in experiment.datasets)
    head = "<th>data set</th><th>documents</th><th>queries</th><th>judgements</th><th>rules</th><th>SHA-256 of documents</th>"
    return f'<h3>Data sets</h3><div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _dataset(record: DatasetRecord) -> str:
    sums = record.checksums
    rules = []
    if record.conventions.drop_query_document:
        rules.append("own document dropped")
    if record.conventions.relevant_from != 1:
        rules.append(f"relevant from {record.conventions.relevant_from}")
    limited = f" of {record.all_queries:,}" if record.all_queries else ""
    return (
        f"<tr><th>{escape(record.name)}</th><td>{sums.document_count:,}</td><td>{sums.query_count:,}{limited}</td>"
        f"<td>{sums.judgement_count:,}</td><td>{escape(', '.join(rules)) or '-'}</td>"
        f"<td class='left'><code>{sums.documents[:16]}…</code></td></tr>"
    )


def _systems(experiment: Experiment) -> str:
    first = experiment.datasets[0].name
    parts = []
    for system in experiment.systems:
        settings = dict(experiment.evaluations[first, system].settings or {})
        weights = settings.pop("weights", None)
        shown = json.dumps(
            {name: value for name, value in settings.items() if value is not None}, ensure_ascii=False
        )
        tuned = (
            f"<br>weights tuned on {escape(first)}: <code>{escape(json.dumps(weights))}</code>"
            if weights
            else ""
        )
        parts.append(f"<dt>{escape(system)}</dt><dd><code>{escape(shown)}</code>{tuned}</dd>")
    return f"<h3>Systems</h3><dl>{''.join(parts)}</dl>"


def _environment(experiment: Experiment) -> str:
    parts = []
    for name, values in experiment.environment.items():
        told = ", ".join(f"{key} {value}" for key, value in _flat(values))
        parts.append(f"<dt>{escape(name)}</dt><dd>{escape(told)}</dd>")
    asked = {name: value for name, value in experiment.settings.items() if value not in (None, [], False)}
    parts.append(f"<dt>asked for</dt><dd><code>{escape(json.dumps(asked, ensure_ascii=False))}</code></dd>")
    parts.append(
        f"<dt>made</dt><dd>{escape(experiment.created)} by lsr eval; --from result.json repeats it</dd>"
    )
    return f"<h3>Code and machine</h3><dl>{''.join(parts)}</dl>"


def _flat(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in values.items() if value is not None]


def _notes(experiment: Experiment) -> str:
    notes = []
    for record in experiment.datasets:
        own = dict.fromkeys(
            note
            for system in experiment.systems
            for note in experiment.evaluations[record.name, system].notes
        )
        notes += [f"<p>{escape(record.name)}: {escape(note)}.</p>" for note in own]
    return f"<h3>Notes</h3>{''.join(notes)}" if notes else ""
