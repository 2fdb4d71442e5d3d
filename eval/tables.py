"""The tables of a paper, in Markdown and LaTeX: what is in them once, how they are written twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lsr.eval.experiment import Difference, Experiment, Row
from lsr.eval.headings import COSTS, heading, p_value, short_cost
from lsr.eval.published import PublishedRow

_MARK = "*"


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure, and how it stands out."""

    text: str
    best: bool = False
    marked: bool = False
    """Differs significantly from the baseline."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table: a heading each column, the first of which names the rows."""

    name: str
    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    rules_before: tuple[int, ...] = ()
    """Rows that a line is drawn above."""


def all_tables(
    experiment: Experiment, differences: Sequence[Difference], published: Sequence[PublishedRow]
) -> list[Table]:
    """Return every table of an experiment: each metric, tests, costs."""
    tables = [metric_table(experiment, name, differences, published) for name in experiment.metrics]
    if experiment.others:
        tables.append(test_table(experiment, differences))
    return [*tables, cost_table(experiment)]


def metric_table(
    experiment: Experiment,
    metric: str,
    differences: Sequence[Difference],
    published: Sequence[PublishedRow] = (),
) -> Table:
    """Return one metric: systems down, data sets across, published figures below."""
    rows: list[Row | None] = [*experiment.rows, *([None] if len(experiment.rows) > 1 else [])]
    marked = {(one.row, one.system) for one in differences if _differs(one, metric, experiment)}
    lines: list[tuple[Cell, ...]] = []
    for system in experiment.systems:
        cells = [Cell(system)]
        for row in rows:
            values = [round(experiment.value(other, row, metric), 4) for other in experiment.systems]
            value = experiment.value(system, row, metric)
            cells.append(
                Cell(
                    _short(value),
                    best=len(values) > 1 and round(value, 4) == max(values),
                    marked=(row.name if row else None, system) in marked,
                )
            )
        lines.append(tuple(cells))
    ruled = len(lines)
    figures = {(one.system, one.row): one for one in published if one.metric == metric}
    for system in dict.fromkeys(name for name, _ in figures):
        own = [figures.get((system, row.name if row else "")) for row in rows]
        lines.append(
            (Cell(f"{system}, published"), *(Cell(_short(one.value) if one else "-") for one in own))
        )
    test = "Fisher's randomisation test" if metric == experiment.metrics[0] else "paired t-test"
    note = (
        f" {_MARK}: differs from {experiment.baseline}, p < .05 ({test}, Holm's correction for all data sets and "
        "systems; the mean by itself)."
        if experiment.others
        else ""
    )
    sources = " ".join(dict.fromkeys(f"Published: {one.source}." for one in figures.values()))
    return Table(
        name=metric,
        caption=f"{heading(metric)} of rankings of {experiment.k:,} documents.{note} {sources}".strip(),
        headings=("system", *("mean" if row is None else row.name for row in rows)),
        rows=tuple(lines),
        rules_before=(ruled,) if figures else (),
    )


def test_table(experiment: Experiment, differences: Sequence[Difference]) -> Table:
    """Return every difference from the baseline with its interval, tests, wins and losses."""
    metric = heading(experiment.metrics[0])
    lines: list[tuple[Cell, ...]] = []
    ruled = []
    last: str | None = None
    for one in sorted(differences, key=lambda one: experiment.systems.index(one.system)):
        if last is not None and one.system != last:
            ruled.append(len(lines))
        last = one.system
        test = one.comparison.test
        texts = (
            one.system,
            one.row or "mean",
            f"{test.difference:+.4f}",
            f"{test.interval.low:+.4f} to {test.interval.high:+.4f}",
            f"{one.comparison.wins:,}/{one.comparison.ties:,}/{one.comparison.losses:,}",
            p_value(one.corrected),
            p_value(one.t_corrected[experiment.metrics[0]]),
        )
        lines.append(
            tuple(Cell(text, marked=one.significant and place == 2) for place, text in enumerate(texts))
        )
    return Table(
        name="differences",
        caption=(
            f"Differences of {metric} from {experiment.baseline}: 95 % interval (percentile bootstrap over queries), "
            "queries won, tied and lost, and p-values after Holm's correction: Fisher's randomisation test and the "
            "paired t-test."
        ),
        headings=("system", "data set", "difference", "95 % interval", "won/tied/lost", "p", "p, t-test"),
        rows=tuple(lines),
        rules_before=tuple(ruled),
    )


def cost_table(experiment: Experiment) -> Table:
    """Return what systems take: means over data sets."""
    row = None if len(experiment.rows) > 1 else experiment.rows[0]
    said = "; ".join(f"{column.title}: {column.says}" for column in COSTS)
    machines = dict.fromkeys(str(one.cost.machine) for one in experiment.evaluations.values())
    return Table(
        name="costs",
        caption=f"Costs, means over data sets. {said}. On {' and '.join(machines)}.",
        headings=("system", *(column.title for column in COSTS)),
        rows=tuple(
            (Cell(system), *(Cell(short_cost(experiment, system, row, column)) for column in COSTS))
            for system in experiment.systems
        ),
    )


def as_markdown(table: Table) -> str:
    """Return a table in GitHub's Markdown, its caption above."""

    def shown(cell: Cell) -> str:
        text = cell.text.replace("|", "\\|") + ("\\*" if cell.marked else "")
        return f"**{text}**" if cell.best else text

    lines = [
        table.caption.replace("*:", "\\*:"),
        "",
        f"| {' | '.join(name.replace('|', chr(92) + '|') for name in table.headings)} |",
        f"| --- |{' ---: |' * (len(table.headings) - 1)}",
    ]
    lines += [f"| {' | '.join(shown(cell) for cell in row)} |" for row in table.rows]
    return "\n".join(lines) + "\n"


def as_latex(table: Table) -> str:
    """Return a table as a LaTeX float with booktabs' rules (``\\\\usepackage{booktabs}``)."""

    def shown(cell: Cell) -> str:
        text = _latex(cell.text)
        text = f"\\textbf{{{text}}}" if cell.best else text
        return f"{text}$^{{\\ast}}$" if cell.marked else text

    lines = ["\\begin{table*}[t]", "\\centering", f"\\caption{{{_latex(table.caption)}}}"]
    lines += [f"\\label{{tab:{table.name.replace('@', '-')}}}"]
    lines += [f"\\begin{{tabular}}{{l{'r' * (len(table.headings) - 1)}}}", "\\toprule"]
    lines += [" & ".join(_latex(name) for name in table.headings) + " \\\\", "\\midrule"]
    for place, row in enumerate(table.rows):
        if place in table.rules_before:
            lines.append("\\midrule")
        lines.append(" & ".join(shown(cell) for cell in row) + " \\\\")
    lines += ["\\bottomrule", "\\end{tabular}", "\\end{table*}"]
    return "\n".join(lines) + "\n"


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "*": r"$\ast$",
}  # fmt: skip


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _short(value: float) -> str:
    """Return a figure as papers write it: .6789."""
    return f"{value:.4f}".removeprefix("0") if 0 <= value < 1 else f"{value:.4f}"


def _differs(one: Difference, metric: str, experiment: Experiment) -> bool:
    if metric == experiment.metrics[0]:
        return one.significant
    value = one.t_corrected[metric]
    return value is not None and value < 0.05
