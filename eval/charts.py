"""Plots as SVG, without a plotting library: bars by data set, quality against cost.

Shapes carry classes (``s0``, ``s1``, ... by system; ``axis``, ``grid``), colours come from a style
sheet: that of the HTML report, which knows light and dark, or `STANDALONE_STYLE` in a file of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from lsr.eval.evaluation import Evaluation
from lsr.eval.experiment import Experiment, Row
from lsr.eval.headings import heading

COLOURS = 8
# Okabe and Ito's colours, apart for colour-blind readers, the yellow darkened to be seen on white.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a6f00", "#555555")

STANDALONE_STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#222}.title{font-weight:600;font-size:12px}"
    ".axis{stroke:#888}.grid{stroke:#ddd}.value{font-size:10px}"
    + "".join(f".s{place}{{fill:{colour}}}" for place, colour in enumerate(PALETTE))
)

_LABEL_WIDTH = 118
_BAR_HEIGHT = 18
_PANEL_WIDTH = 340
_TITLE_HEIGHT = 26
_LONGEST_LABEL = 20


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing: what is inside of ``<svg>``, and its size in pixels at full scale."""

    name: str
    title: str
    width: float
    height: float
    body: str

    def embedded(self) -> str:
        """Return the drawing for a page whose style sheet colours it."""
        return (
            f'<svg viewBox="0 0 {self.width:g} {self.height:g}" role="img" aria-label="{escape(self.title)}">'
            f"{self.body}</svg>"
        )

    def standalone(self) -> str:
        """Return the drawing as a file."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} {self.height:g}" '
            f'width="{self.width:g}" height="{self.height:g}"><title>{escape(self.title)}</title>'
            f"<style>{STANDALONE_STYLE}</style>{self.body}</svg>\n"
        )


def panels(experiment: Experiment, metric: str) -> list[Chart]:
    """Return a chart for each row: a metric's bar for every system, all on one scale."""
    rows: list[Row | None] = [*experiment.rows, *([None] if len(experiment.rows) > 1 else [])]
    values = {
        (row.name if row else None): [experiment.value(system, row, metric) for system in experiment.systems]
        for row in rows
    }
    top = max(max(one) for one in values.values()) or 1.0
    return [_panel(name or "mean", metric, experiment.systems, found, top) for name, found in values.items()]


def bars(experiment: Experiment, metric: str, columns: int = 3) -> Chart:
    """Return all panels of a metric in one drawing."""
    parts = panels(experiment, metric)
    columns = min(columns, len(parts))
    drawn = []
    for place, part in enumerate(parts):
        x, y = (place % columns) * (_PANEL_WIDTH + 20), (place // columns) * (part.height + 12)
        drawn.append(f'<g transform="translate({x:g},{y:g})">{part.body}</g>')
    lines = -(-len(parts) // columns)
    return Chart(
        f"datasets-{metric.replace('@', '-')}",
        f"{heading(metric)} by data set",
        columns * (_PANEL_WIDTH + 20) - 20,
        lines * (parts[0].height + 12),
        "".join(drawn),
    )


def _panel(name: str, metric: str, systems: Sequence[str], values: Sequence[float], top: float) -> Chart:
    height = _TITLE_HEIGHT + _BAR_HEIGHT * len(systems) + 6
    room = _PANEL_WIDTH - _LABEL_WIDTH - 42
    parts = [f'<text class="title" x="0" y="15">{escape(name)}</text>']
    for place, (system, value) in enumerate(zip(systems, values, strict=True)):
        y = _TITLE_HEIGHT + place * _BAR_HEIGHT
        width = room * value / top
        parts.append(
            f'<text x="{_LABEL_WIDTH - 6}" y="{y + 12}" text-anchor="end">{escape(_cut(system))}'
            f"<title>{escape(system)}</title></text>"
            f'<rect class="s{place % COLOURS}" x="{_LABEL_WIDTH}" y="{y + 2}" width="{width:.1f}" height="13" rx="2"/>'
            f'<text class="value" x="{_LABEL_WIDTH + width + 5:.1f}" y="{y + 12}">{_short(value)}</text>'
        )
    title = f"{heading(metric)}, {name}"
    return Chart(f"bars-{name}", title, _PANEL_WIDTH, height, "".join(parts))


def against(
    experiment: Experiment,
    metric: str,
    name: str,
    axis: str,
    take: Callable[[Evaluation], float | None],
) -> Chart | None:
    """Return a metric's mean against a cost's, on a logarithmic axis; None with fewer than two systems."""
    row = None if len(experiment.rows) > 1 else experiment.rows[0]
    points = []
    for place, system in enumerate(experiment.systems):
        x = experiment.cost(system, row, take)
        if x is not None and x > 0:
            points.append((x, experiment.value(system, row, metric), place, system))
    if len(points) < 2:
        return None
    return _scatter(points, f"{heading(metric)} against {axis}", name, axis)


_Point = tuple[float, float, int, str]


def _scatter(points: Sequence[_Point], title: str, name: str, axis: str) -> Chart:
    width, height, left, bottom, top, right = 520.0, 330.0, 52.0, 44.0, 28.0, 20.0
    low, high = _log_range([x for x, *_ in points])
    y_low, y_high, step = _ticks([y for _, y, *_ in points])

    def at_x(value: float) -> float:
        return left + (width - left - right) * (math.log10(value) - low) / (high - low)

    def at_y(value: float) -> float:
        return height - bottom - (height - bottom - top) * (value - y_low) / (y_high - y_low)

    parts = [f'<text class="title" x="0" y="14">{escape(title)}</text>']
    places = 3 if step < 0.01 else 2
    for number in range(round((y_high - y_low) / step) + 1):
        value = y_low + number * step
        y = at_y(value)
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(value, places)}</text>')
    for value in _log_ticks(low, high):
        x = at_x(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{height - bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - bottom + 16}" text-anchor="middle">{value:g}</text>')
    parts.append(
        f'<line class="axis" x1="{left}" x2="{width - right}" y1="{height - bottom}" y2="{height - bottom}"/>'
        f'<line class="axis" x1="{left}" x2="{left}" y1="{top}" y2="{height - bottom}"/>'
        f'<text x="{(left + width - right) / 2}" y="{height - 8}" text-anchor="middle">{escape(axis)}</text>'
    )
    spots = [(at_x(x), at_y(y)) for x, y, *_ in points]
    # Labels keep clear of every point and of each other.
    taken = [_Box(px - 7, py - 7, px + 7, py + 7) for px, py in spots]
    for (x, y, place, system), (px, py) in zip(points, spots, strict=True):
        parts.append(
            f'<circle class="s{place % COLOURS}" cx="{px:.1f}" cy="{py:.1f}" r="5.5">'
            f"<title>{escape(system)}: {_short(y)} at {x:.4g}</title></circle>"
        )
        parts.append(_label(system, px, py, _Box(left, top - 8, width, height - bottom), taken))
    return Chart(name, title, width, height, "".join(parts))


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def _label(system: str, px: float, py: float, frame: _Box, taken: list[_Box]) -> str:
    """Return a point's label at the first free place: right, left, above, below, and further off."""
    text = _cut(system, 26)
    length = 6.6 * len(text)
    places = [(px + 10, py + 4), (px - 10 - length, py + 4)]
    for off in (14, 26, 38):
        places += [(px - length / 2, py - off + 4), (px - length / 2, py + off + 4)]
        places += [(px + 10, py - off + 4), (px + 10, py + off + 4), (px - 10 - length, py + off + 4)]
    for x, y in places:
        box = _Box(x, y - 10, x + length, y + 3)
        inside = (
            frame.left <= x and x + length <= frame.right and frame.top <= y - 10 and y + 3 <= frame.bottom
        )
        if inside and not any(box.meets(other) for other in taken):
            break
    else:
        x, y = places[0]
    taken.append(_Box(x, y - 10, x + length, y + 3))
    return f'<text x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _log_range(values: Sequence[float]) -> tuple[float, float]:
    low, high = math.log10(min(values)), math.log10(max(values))
    room = max(0.12 * (high - low), 0.15)
    return low - room, high + room


def _log_ticks(low: float, high: float) -> list[float]:
    factors = (1, 2, 5) if high - low < 3 else (1,)
    ticks = [
        factor * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for factor in factors
    ]
    return [tick for tick in ticks if low <= math.log10(tick) <= high]


def _ticks(values: Sequence[float]) -> tuple[float, float, float]:
    """Return where an axis begins, ends, and its steps."""
    span = max(max(values) - min(values), 0.02)
    step = next(step for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2) if span / step <= 6 or step == 0.2)
    return math.floor(min(values) / step) * step, math.ceil((max(values) + span / 10) / step) * step, step


def _cut(text: str, longest: int = _LONGEST_LABEL) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _short(value: float, places: int = 3) -> str:
    return f"{value:.{places}f}".removeprefix("0") if 0 <= value < 1 else f"{value:.{places}f}"


def all_charts(experiment: Experiment) -> list[Chart]:
    """Return the plots of an experiment: bars of its first metric, and that metric against costs."""
    metric = experiment.metrics[0]
    found = [
        bars(experiment, metric),
        against(
            experiment, metric, "quality-flops", "FLOPS (expected shared terms)", lambda one: one.cost.flops
        ),
        against(
            experiment,
            metric,
            "quality-latency",
            "median ms from a query's text to its documents",
            lambda one: one.cost.answer.p50 if one.cost.answer else None,
        ),
        against(
            experiment,
            metric,
            "quality-size",
            "index, MB",
            lambda one: one.cost.index_bytes / 1e6 if one.cost.index_bytes else None,
        ),
    ]
    return [chart for chart in found if chart is not None]
