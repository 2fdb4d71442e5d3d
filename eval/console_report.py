"""Evaluations for people at a terminal: quality, cost, and what differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lsr.eval.evaluation import Evaluation
from lsr.eval.experiment import Difference, Experiment, Row
from lsr.eval.headings import SIZES, TIMES, CostColumn, heading, p_value, short_cost

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from lsr.eval.published import PublishedRow

_WIDEST_LABEL = 18
_NARROWEST = 8
_FIRST_COLUMN = 16
_WIDTH_OF_FILES = 120
_RUNS_NAMED = 8


def report_console() -> Console:
    """Return the console to print on: a terminal's width, or wide enough for any table in a file or a pipe."""
    import sys

    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)


def print_experiment(
    experiment: Experiment,
    console: Console,
    *,
    published: Sequence[PublishedRow] = (),
    notes: bool = True,
) -> None:
    """Print what was measured: one system's figures by data set, or several systems side by side."""
    if not experiment.datasets:
        return
    if len(experiment.systems) == 1:
        _print_one(experiment, console, notes)
    else:
        _print_several(experiment, console, notes)
    _print_published(experiment, published, console)
    if notes:
        _print_notes(experiment, console)


def _print_one(experiment: Experiment, console: Console, notes: bool) -> None:
    evaluations = experiment.of(experiment.systems[0])
    encoders = dict.fromkeys(one.encoder for one in evaluations)
    console.print(f"encoder: {', '.join(encoders)}", highlight=False, markup=False, soft_wrap=True)
    console.print(_quality_by_dataset(experiment))
    for columns in (SIZES, TIMES):
        console.print(_cost_by_dataset(experiment, columns))
    if notes:
        say(console, _cost_note(evaluations[0]))


def _print_several(experiment: Experiment, console: Console, notes: bool) -> None:
    differences = experiment.differences()
    console.print(_side_by_side(experiment, differences, console))
    if notes:
        say(
            console,
            f"{heading(experiment.metrics[0])}. * differs from {experiment.baseline} (p < .05, Fisher's "
            "randomisation test, Holm's correction for all cells); best in bold.",
        )
    if len(experiment.metrics) > 1:
        console.print(_means(experiment))
    console.print(_tests(experiment, differences))
    if notes:
        say(
            console,
            f"Difference of {heading(experiment.metrics[0])} from {experiment.baseline} with its 95 % interval "
            "(bootstrap over queries); p: randomisation test and paired t-test, both after Holm.",
        )
    for columns in (SIZES, TIMES):
        console.print(_cost_by_system(experiment, columns))
    if notes:
        say(console, "Means over data sets. " + _cost_note(experiment.of(experiment.baseline)[0]))


def _quality_by_dataset(experiment: Experiment) -> Table:
    (system,) = experiment.systems
    names = experiment.metrics
    shown = table("data set", ["docs", "queries", *map(heading, names)])
    rows = experiment.rows
    for row in rows:
        evaluations = experiment.of(system, row)
        documents, queries = (
            sum(one.documents for one in evaluations),
            sum(one.queries for one in evaluations),
        )
        values = [f"{experiment.value(system, row, name):.4f}" for name in names]
        shown.add_row(_row_name(row), f"{documents:,}", f"{queries:,}", *values)
    if len(rows) > 1:
        shown.add_section()
        means = [f"{experiment.value(system, None, name):.4f}" for name in names]
        shown.add_row("mean", "", "", *means, style="bold")
    return shown


def _cost_by_dataset(experiment: Experiment, columns: Sequence[CostColumn]) -> Table:
    (system,) = experiment.systems
    shown = table("data set", [column.heading for column in columns])
    for row in experiment.rows:
        shown.add_row(_row_name(row), *(short_cost(experiment, system, row, column) for column in columns))
    return shown


def _side_by_side(experiment: Experiment, differences: Sequence[Difference], console: Console) -> Table:
    metric = experiment.metrics[0]
    marked = {(one.row, one.system) for one in differences if one.significant}
    shown = table("data set", _headings(experiment.systems, console))
    rows: list[Row | None] = list(experiment.rows)
    for row in [*rows, *([None] if len(rows) > 1 else [])]:
        if row is None:
            shown.add_section()
        values = [experiment.value(system, row, metric) for system in experiment.systems]
        best = max(values)
        cells = []
        for system, value in zip(experiment.systems, values, strict=True):
            star = "*" if (row.name if row else None, system) in marked else " "
            text = f"{value:.4f}{star}"
            cells.append(f"[bold]{text}[/bold]" if round(value, 4) == round(best, 4) else text)
        shown.add_row("mean" if row is None else escaped(_row_name(row)), *cells)
    return shown


def _means(experiment: Experiment) -> Table:
    several = len(experiment.rows) > 1
    names = experiment.metrics
    shown = table(
        "mean over data sets" if several else "system",
        [*map(heading, names), "95 % of\n" + heading(names[0]), "unjudged\n@10"],
    )
    row = None if several else experiment.rows[0]
    for system in experiment.systems:
        interval = experiment.interval(system, row, names[0])
        shown.add_row(
            escaped(system),
            *(f"{experiment.value(system, row, name):.4f}" for name in names),
            f"{interval.low:.3f} to {interval.high:.3f}",
            f"{experiment.unjudged(system, row):.0%}",
        )
    return shown


def _tests(experiment: Experiment, differences: Sequence[Difference]) -> Table:
    shown = table(
        f"against {escaped(experiment.baseline)}",
        ["data set", "difference", "95 % interval", "won", "tied", "lost", "p", "p, t"],
    )
    several = len(experiment.rows) > 1
    for system in experiment.others:
        for one in differences:
            if one.system != system or (several and one.row is not None):
                continue
            test = one.comparison.test
            shown.add_row(
                escaped(system),
                escaped(one.row or "mean"),
                f"{test.difference:+.4f}",
                f"{test.interval.low:+.4f} to {test.interval.high:+.4f}",
                f"{one.comparison.wins:,}",
                f"{one.comparison.ties:,}",
                f"{one.comparison.losses:,}",
                p_value(one.corrected),
                p_value(one.t_corrected[experiment.metrics[0]]),
            )
    return shown


def _cost_by_system(experiment: Experiment, columns: Sequence[CostColumn]) -> Table:
    row = None if len(experiment.rows) > 1 else experiment.rows[0]
    shown = table("system", [column.heading for column in columns])
    for system in experiment.systems:
        shown.add_row(escaped(system), *(short_cost(experiment, system, row, column) for column in columns))
    return shown


def _print_published(experiment: Experiment, published: Sequence[PublishedRow], console: Console) -> None:
    for metric in dict.fromkeys(one.metric for one in published):
        figures = [one for one in published if one.metric == metric]
        rows = list(dict.fromkeys(one.row for one in figures))
        values = {(one.system, one.row): f"{one.value:.4f}" for one in figures}
        shown = table(f"published {heading(metric)}", _headings(rows, console))
        for system in dict.fromkeys(one.system for one in figures):
            shown.add_row(escaped(system), *(values.get((system, row), "-") for row in rows))
        console.print(shown)
    sources = list(dict.fromkeys(one.source for one in published))
    if sources:
        say(
            console,
            f"As published, not measured here; same documents, queries and rules. {'; '.join(sources)}.",
        )


def _print_notes(experiment: Experiment, console: Console) -> None:
    for name in [record.name for record in experiment.datasets]:
        notes = dict.fromkeys(
            note for system in experiment.systems for note in experiment.evaluations[name, system].notes
        )
        for note in notes:
            console.print(f"{name}: {note}.", style="yellow", highlight=False, markup=False)
    kept = sum(one.from_cache for one in experiment.evaluations.values())
    if kept:
        say(
            console,
            f"{kept} of {len(experiment.evaluations)} results, times included, are of earlier runs (--fresh measures anew).",
        )
    runs = [one.run for one in experiment.evaluations.values() if one.run is not None]
    told = [f"run: {run}" for run in runs]
    if len(runs) > _RUNS_NAMED:
        folders = dict.fromkeys(str(run.parent) for run in runs)
        told = [f"runs: {len(runs)} files in {', '.join(folders)}"]
    for line in told:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _cost_note(first: Evaluation) -> str:
    latency = first.cost.latency
    threads = f"{first.cost.threads} thread{'' if first.cost.threads == 1 else 's'}"
    depth = f", depth {latency.k}" if latency else ""
    return (
        "FLOPS: expected shared terms of a query and a document. Index: without texts. Postings and blocks: "
        f"read for a query. queries/s: depth {first.k}, {threads}; p50 and p99: one query alone{depth}, one thread; "
        "answer: from its text."
    )


def say(console: Console, text: str) -> None:
    """Print a remark."""
    console.print(text, style="dim", highlight=False, markup=False)


def table(first: str, headings: Sequence[str]) -> Table:
    """Return an empty table with columns for figures, the first for what rows are called."""
    from rich import box
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    shown.add_column(first, overflow="fold", vertical="bottom", min_width=12)
    for name in headings:
        left = name == "data set"
        shown.add_column(name, justify="left" if left else "right", no_wrap=not left, overflow="fold")
    return shown


def _row_name(row: Row) -> str:
    return row.name if len(row.datasets) == 1 else f"{row.name} ({len(row.datasets)})"


def _headings(labels: Sequence[str], console: Console) -> list[str]:
    """Return labels on lines short enough for all columns to fit."""
    import textwrap

    room = max(_NARROWEST, (console.width - _FIRST_COLUMN) // max(len(labels), 1) - 1)
    width = min(room, _WIDEST_LABEL)
    return ["\n".join(escaped(line) for line in textwrap.wrap(label, width)) or label for label in labels]


def escaped(text: str) -> str:
    """Return a name that rich does not take for markup."""
    from rich.markup import escape

    return escape(text)
