"""An experiment as one self-contained HTML page, for laptop and phone, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

from lsr.eval.charts import COLOURS, all_charts, panels
from lsr.eval.experiment import Difference, Experiment, Row
from lsr.eval.headings import COSTS, heading, p_value, short_cost
from lsr.eval.html_moves import moves_section
from lsr.eval.html_record import record_section
from lsr.eval.published import PublishedRow


def html_report(
    experiment: Experiment, differences: Sequence[Difference], published: Sequence[PublishedRow]
) -> str:
    """Return the page."""
    style = resources.files("lsr.eval").joinpath("report.css").read_text(encoding="utf-8")
    title = _title(experiment)
    sections = [
        ("quality", heading(experiment.metrics[0]), _quality(experiment, differences, published)),
        ("datasets", "By data set", _panels(experiment)),
        ("cost", "Quality and cost", _costs(experiment)),
        ("metrics", "All metrics", _metrics(experiment)),
    ]
    if experiment.others:
        sections.append(("tests", "Differences and tests", _tests(experiment, differences)))
        sections.append(("queries", "Queries that moved most", moves_section(experiment, differences)))
    sections.append(("record", "Data, systems, machine", record_section(experiment)))
    sections = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{name}">{escape(text)}</a>' for name, text, _ in sections)
    body = "".join(
        f'<section id="{name}"><h2>{escape(text)}</h2>{content}</section>' for name, text, content in sections
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>\n{style}</style></head><body>"
        f"<header><h1>{escape(title)}</h1>{_summary(experiment, differences)}<nav>{links}</nav></header>"
        f"<main>{body}</main></body></html>\n"
    )


def _title(experiment: Experiment) -> str:
    rows = [row.name for row in experiment.rows]
    on = rows[0] if len(rows) == 1 else f"{len(rows)} data sets"
    systems = experiment.systems
    what = systems[0] if len(systems) == 1 else f"{len(systems)} systems"
    return f"{what} on {on}"


def _summary(experiment: Experiment, differences: Sequence[Difference]) -> str:
    metric = experiment.metrics[0]
    row = None if len(experiment.rows) > 1 else experiment.rows[0]
    queries = sum(record.checksums.query_count for record in experiment.datasets)
    documents = sum(record.checksums.document_count for record in experiment.datasets)
    best = max(experiment.systems, key=lambda system: experiment.value(system, row, metric))
    told = f"{queries:,} judged queries over {documents:,} documents, {experiment.created[:10]}."
    if experiment.others:
        what = "mean " if row is None else ""
        told += f" Best {what}{heading(metric)}: {best}, {_short(experiment.value(best, row, metric))}"
        own = [one for one in differences if one.system == best and one.row == (row.name if row else None)]
        if own:
            test = own[0].comparison.test
            told += (
                f", {test.difference:+.4f} over {experiment.baseline} (95 % interval {test.interval.low:+.4f} to "
                f"{test.interval.high:+.4f}, p {p_value(own[0].corrected)})"
            )
        told += "."
    failed = "".join(
        f'<p class="warn">Not evaluated: {escape(name)}. {escape(reason)}</p>'
        for name, reason in experiment.failures
    )
    limited = [record for record in experiment.datasets if record.all_queries]
    if limited:
        failed += '<p class="warn">Not all queries were searched for (--limit); data sets say how many.</p>'
    return f"<p>{escape(told)}</p>{failed}"


def _quality(
    experiment: Experiment, differences: Sequence[Difference], published: Sequence[PublishedRow]
) -> str:
    metric = experiment.metrics[0]
    marked = {(one.row, one.system) for one in differences if one.significant}
    body = _metric_rows(experiment, metric, marked)
    figures = [one for one in published if one.metric == metric]
    note = "Best in bold. " if experiment.others else ""
    if experiment.others:
        note += (
            f"* differs from {experiment.baseline}: p &lt; .05, Fisher's randomisation test, Holm's correction for all "
            "cells (the mean by itself)."
        )
    table = _table(["data set", *map(escape, experiment.systems)], body, note)
    return table + _published(experiment, figures)


def _metric_rows(experiment: Experiment, metric: str, marked: set[tuple[str | None, str]]) -> Iterable[str]:
    rows: list[Row | None] = [*experiment.rows, *([None] if len(experiment.rows) > 1 else [])]
    for row in rows:
        values = [experiment.value(system, row, metric) for system in experiment.systems]
        cells = []
        for system, value in zip(experiment.systems, values, strict=True):
            best = len(values) > 1 and round(value, 4) == round(max(values), 4)
            mark = (row.name if row else None, system) in marked
            names = " ".join(name for name, on in (("best", best), ("mark", mark)) if on)
            cells.append(f"<td{f' class={chr(34)}{names}{chr(34)}' if names else ''}>{_short(value)}</td>")
        name = "mean" if row is None else row.name
        many = f' <span class="soft">({len(row.datasets)})</span>' if row and len(row.datasets) > 1 else ""
        kind = ' class="mean"' if row is None else ""
        yield f"<tr{kind}><th>{escape(name)}{many}</th>{''.join(cells)}</tr>"


def _published(experiment: Experiment, figures: Sequence[PublishedRow]) -> str:
    if not figures:
        return ""
    names = list(dict.fromkeys(one.row for one in figures))
    by_cell = {(one.system, one.row): one.value for one in figures}
    body = []
    for system in dict.fromkeys(one.system for one in figures):
        cells = "".join(
            f"<td>{_short(by_cell[system, name]) if (system, name) in by_cell else '-'}</td>"
            for name in names
        )
        body.append(f'<tr class="published"><th>{escape(system)}</th>{cells}</tr>')
    sources = "; ".join(dict.fromkeys(one.source for one in figures))
    note = (
        "As published, not measured here; the same documents, queries, judgements and rules. "
        f"Sources: {escape(sources)}."
    )
    return "<h3>Published figures</h3>" + _table(["system", *map(escape, names)], body, note)


def _panels(experiment: Experiment) -> str:
    key = "".join(
        f'<span style="--c:var(--s{place % COLOURS})">{escape(system)}</span>'
        for place, system in enumerate(experiment.systems)
    )
    cards = "".join(chart.embedded() for chart in panels(experiment, experiment.metrics[0]))
    return f'<div class="key">{key}</div><div class="cards">{cards}</div>'


def _costs(experiment: Experiment) -> str:
    charts = [chart.embedded() for chart in all_charts(experiment)[1:]]
    row = None if len(experiment.rows) > 1 else experiment.rows[0]
    body = [
        f"<tr><th>{escape(system)}</th>"
        + "".join(f"<td>{short_cost(experiment, system, row, column)}</td>" for column in COSTS)
        + "</tr>"
        for system in experiment.systems
    ]
    said = "; ".join(f"{column.title}: {column.says}" for column in COSTS)
    machines = dict.fromkeys(str(one.cost.machine) for one in experiment.evaluations.values())
    cores = experiment.environment.get("machine", {}).get("cores")
    note = (
        f"{'Means over data sets. ' if row is None else ''}{said}. On {' and '.join(machines)}"
        f"{f', {cores} cores' if cores else ''}. Times are comparable within one table alone; a fusion's are its "
        "parts' added up."
    )
    plots = f'<div class="plots">{"".join(charts)}</div>' if charts else ""
    return plots + _table(["system", *(column.title for column in COSTS)], body, escape(note))


def _metrics(experiment: Experiment) -> str:
    row = None if len(experiment.rows) > 1 else experiment.rows[0]
    names = experiment.metrics
    body = []
    for system in experiment.systems:
        interval = experiment.interval(system, row, names[0])
        cells = "".join(f"<td>{_short(experiment.value(system, row, name))}</td>" for name in names)
        body.append(
            f"<tr><th>{escape(system)}</th>{cells}<td>{_short(interval.low, 3)} to {_short(interval.high, 3)}</td>"
            f"<td>{experiment.unjudged(system, row):.0%}</td></tr>"
        )
    first = heading(names[0])
    note = (
        f"{'Means over data sets. ' if row is None else ''}Interval: 95 % of {first}, percentile bootstrap over queries. "
        "Unjudged: share of the first ten documents that nobody judged."
    )
    headings = ["system", *map(heading, names), f"interval of {first}", "unjudged@10"]
    table = _table(headings, body, note)
    if row is not None or len(names) < 2:
        return table
    more = "".join(
        f"<details><summary>{escape(heading(name))} by data set</summary>"
        + _table(["data set", *map(escape, experiment.systems)], _metric_rows(experiment, name, set()), "")
        + "</details>"
        for name in names[1:]
    )
    return table + more


def _tests(experiment: Experiment, differences: Sequence[Difference]) -> str:
    parts = []
    for system in experiment.others:
        body = []
        for one in (one for one in differences if one.system == system):
            test = one.comparison.test
            way = "" if not one.significant else ("up" if test.difference > 0 else "down")
            body.append(
                f"<tr{'' if one.row else ' class=mean'}><th>{escape(one.row or 'mean')}</th>"
                f'<td class="{way}">{test.difference:+.4f}</td>'
                f"<td>{test.interval.low:+.4f} to {test.interval.high:+.4f}</td>"
                f"<td>{one.comparison.wins:,}</td><td>{one.comparison.ties:,}</td><td>{one.comparison.losses:,}</td>"
                f"<td>{_p(one.corrected)}</td><td>{_p(one.t_corrected[experiment.metrics[0]])}</td></tr>"
            )
        headings = ["data set", "difference", "95 % interval", "won", "tied", "lost", "p", "p, t-test"]
        table = _table(headings, body, "")
        last = len(experiment.others) == 1
        name = f"{escape(system)} against {escape(experiment.baseline)}"
        parts.append(f"<details{' open' if last else ''}><summary>{name}</summary>{table}</details>")
    note = (
        f"Of {heading(experiment.metrics[0])}. Intervals: percentile bootstrap over queries. p: Fisher's randomisation test "
        "(10,000 ways to swap), and Student's paired t-test, both after Holm's correction for all data sets and systems."
    )
    return f'<p class="note">{note}</p>' + "".join(parts)


def _table(headings: Sequence[str], body: Iterable[str], note: str) -> str:
    head = "".join(f"<th>{name}</th>" for name in headings)
    caption = f"<p class='note'>{note}</p>" if note else ""
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>{caption}"
    )


def _short(value: float, places: int = 4) -> str:
    return f"{value:.{places}f}".removeprefix("0") if 0 <= value < 1 else f"{value:.{places}f}"


def _p(value: float | None) -> str:
    return escape(p_value(value))
