"""What compare_engines.py wrote, read back: medians over passes and growth exponents."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Key(NamedTuple):
    """What one figure is about."""

    engine: str
    setting: str
    corpus: str
    kind: str


class Results:
    """Medians over passes, for each key, and the last build of each engine and corpus."""

    def __init__(self, path: Path) -> None:
        passes: dict[Key, list[dict[str, Any]]] = defaultdict(list)
        self.builds: dict[tuple[str, str], dict[str, Any]] = {}
        self.loads: list[float] = []
        for line in path.read_text().splitlines():
            row = json.loads(line)
            self.loads.append(row["load"])
            if row["step"] == "build":
                self.builds[row["engine"], row["corpus"]] = row
            else:
                passes[Key(row["engine"], row["setting"], row["corpus"], row["kind"])].append(row)
        self.figures = {key: _medians(rows) for key, rows in passes.items()}

    def corpora(self) -> list[str]:
        """Return the corpora by size, real before grown."""
        names = {corpus for _, corpus in self.builds}
        return sorted(names, key=lambda name: (int(name.lstrip("g")), name))

    def first_settings(self) -> dict[str, str]:
        """Return each engine's first setting."""
        first: dict[str, str] = {}
        for key in self.figures:
            first.setdefault(key.engine, key.setting)
        return first


def _medians(rows: list[dict[str, Any]]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name, value in rows[0].items():
        if isinstance(value, int | float):
            figures[name] = float(np.median([row[name] for row in rows]))
    figures["by_length"] = {
        length: {name: float(np.median([row["by_length"][length][name] for row in rows])) for name in cells}
        for length, cells in rows[0]["by_length"].items()
    }
    return figures


def title(corpus: str) -> str:
    """Say a corpus in words."""
    return f"{int(corpus.lstrip('g')):,} {'grown' if corpus.startswith('g') else 'real'} documents"


def exponents(results: Results) -> dict[tuple[str, str, str], float]:
    """Return b of time = a * size^b over the grown sizes, least squares on logarithms."""
    points: dict[tuple[str, str, str], list[tuple[int, float]]] = defaultdict(list)
    for key, figures in results.figures.items():
        if key.corpus.startswith("g"):
            points[key.engine, key.setting, key.kind].append((int(key.corpus[1:]), figures["mean_ms"]))
    return {
        name: float(np.polyfit(*np.log(np.array(sorted(pairs)).T), 1)[0])
        for name, pairs in points.items()
        if len(pairs) > 1
    }
