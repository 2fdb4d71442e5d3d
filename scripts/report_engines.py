"""Tables and plots of what compare_engines.py measured.

    python scripts/report_engines.py WORK --out scripts/plots

Reads ``WORK/results.jsonl``, takes the median over passes of every figure, prints Markdown tables and
writes two plots: latency against recall at one size, and latency against corpus size, with the
exponent b of time = a * size^b fitted to the grown sizes.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.fonttype"] = "none"
import matplotlib.pyplot as plt
import numpy as np
from vectors import KINDS

BASE = "lsr", "exhaustive"
# In the growth plot: an engine's first setting, and these of lsr. Slow enough to hide the others: not shown.
GROWTH_SETTINGS = ("exhaustive", "block-max", "auto", "recall .99")


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


def print_tables(results: Results) -> None:
    for corpus in results.corpora():
        print(f"\n### {title(corpus)}\n")
        heads = ["engine", "build s", "processor s", "index MB", "bytes a posting", "resident MB", "open s"]
        _table(heads, _build_rows(results, corpus))
        print()
        heads = ["engine", "setting"]
        for kind in KINDS:
            heads += [f"{kind}: mean ms", "times lsr exhaustive", "p50", "p95", "p99", "recall@10", "@100"]
        _table(heads, _search_rows(results, corpus))


def _build_rows(results: Results, corpus: str) -> list[list[str]]:
    rows = []
    for (engine, built_for), build in results.builds.items():
        if built_for != corpus:
            continue
        if "stopped" in build:
            rows.append([engine, build["stopped"], *[""] * 5])
            continue
        searched = [f for key, f in results.figures.items() if (key.engine, key.corpus) == (engine, corpus)]
        held = f"{max(f['resident_bytes'] for f in searched) / 1e6:,.0f}" if searched else ""
        opened = f"{searched[0]['open_seconds']:.3f}" if searched else ""
        rows.append([
            engine, f"{build['seconds']:,.1f}", f"{build['processor_seconds']:,.1f}",
            f"{build['bytes'] / 1e6:,.1f}", f"{build['bytes'] / build['postings']:.2f}",
            held, opened,
        ])  # fmt: skip
    return rows


def _search_rows(results: Results, corpus: str) -> list[list[str]]:
    rows: dict[tuple[str, str], list[str]] = {}
    for key in results.figures:
        if key.corpus == corpus and key.kind == KINDS[0]:
            cells = [key.engine, key.setting]
            for kind in KINDS:
                figures = results.figures[key._replace(kind=kind)]
                base = results.figures.get(Key(*BASE, corpus, kind))
                cells.append(f"{figures['mean_ms']:.3f}")
                cells.append(f"{figures['mean_ms'] / base['mean_ms']:.2f}" if base else "")
                cells += [f"{figures[f'p{p}_ms']:.3f}" for p in (50, 95, 99)]
                cells += [f"{figures[name]:.3f}" for name in ("recall@10", "recall@100")]
            rows[key.engine, key.setting] = cells
    return list(rows.values())


def print_lengths(results: Results, corpus: str, shown: set[tuple[str, str]]) -> None:
    """Print percentiles by query length, and how far the 99th is from the median."""
    print(f"\n### By query length, {title(corpus)}\n")
    rows = []
    for key, figures in results.figures.items():
        if key.corpus == corpus and (key.engine, key.setting) in shown:
            for length, cells in figures["by_length"].items():
                times = [cells[f"p{p}_ms"] for p in (50, 95, 99)]
                rows.append([key.engine, key.setting, key.kind, length, f"{cells['queries']:.0f}",
                             *(f"{time:.3f}" for time in times), f"{times[2] / times[0]:.1f}"])  # fmt: skip
    _table(["engine", "setting", "queries", "terms", "count", "p50 ms", "p95", "p99", "p99 / p50"], rows)


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


def plot_recall(results: Results, corpus: str, out: Path) -> None:
    figure, axes = plt.subplots(1, len(KINDS), figsize=(11, 4.6), sharey=True, layout="constrained")
    curves: dict[str, list[Key]] = defaultdict(list)
    for key in results.figures:
        if key.corpus == corpus and key.setting != "NumPy":
            curves[key.engine].append(key)
    for axis, kind in zip(axes, KINDS, strict=True):
        for number, (engine, keys) in enumerate(curves.items()):
            points = [results.figures[key] for key in keys if key.kind == kind]
            points.sort(key=lambda point: point["recall@10"])
            style = {"marker": "os^Dv<>p*hX"[number % 11], "color": f"C{number % 10}", "markersize": 5}
            line = "none" if engine == "lsr" else "-"
            axis.plot([p["recall@10"] for p in points], [p["mean_ms"] for p in points],
                      linestyle=line, linewidth=1, label=engine, **style)  # fmt: skip
        for key in curves.get("lsr", []):
            if key.kind == kind:
                point = results.figures[key]
                axis.annotate(key.setting, (point["recall@10"], point["mean_ms"]), fontsize=7,
                              xytext=(-4, -9), textcoords="offset points", ha="right")  # fmt: skip
        axis.set(title=f"{kind} queries", xlabel="recall@10", yscale="log", xlim=(0.6, 1.01))
        axis.grid(True, which="both", alpha=0.25)
    axes[0].set_ylabel("mean ms a query, one thread")
    axes[-1].legend(fontsize=7, ncols=2)
    figure.suptitle(f"Latency against recall, {title(corpus)}", fontsize=11)
    figure.savefig(out / "latency_recall.svg")
    plt.close(figure)


def plot_growth(results: Results, out: Path) -> None:
    figure, axes = plt.subplots(1, len(KINDS), figsize=(11, 4.6), sharey=True, layout="constrained")
    first, powers = results.first_settings(), exponents(results)
    names = list(dict.fromkeys((key.engine, key.setting) for key in results.figures))
    names = [n for n in names if n[1] in (GROWTH_SETTINGS if n[0] == "lsr" else (first[n[0]],))]
    for axis, kind in zip(axes, KINDS, strict=True):
        for number, (engine, setting) in enumerate(names):
            style = {"marker": "os^Dv<>p*hX"[number % 11], "color": f"C{number % 10}", "markersize": 5}
            label = f"{engine}, {setting}" if engine == "lsr" else engine
            if (engine, setting, kind) in powers:
                label += f" ({powers[engine, setting, kind]:.2f})"
            for grown in (False, True):
                points = sorted(
                    (int(key.corpus.lstrip("g")), figures["mean_ms"])
                    for key, figures in results.figures.items()
                    if (key.engine, key.setting, key.kind) == (engine, setting, kind)
                    and key.corpus.startswith("g") == grown
                )
                if points:
                    axis.plot(*zip(*points, strict=True), linewidth=1, label=label,
                              linestyle="--" if grown else "-", **style)  # fmt: skip
                    label = "_"
        axis.set(title=f"{kind} queries", xlabel="documents", xscale="log", yscale="log")
        axis.grid(True, which="both", alpha=0.25)
        axis.legend(fontsize=6.5, ncols=2)
    axes[0].set_ylabel("mean ms a query, one thread")
    figure.suptitle("Latency against corpus size: real (solid), grown (dashed; its exponent)", fontsize=11)
    figure.savefig(out / "latency_size.svg")
    plt.close(figure)


def _table(heads: list[str], rows: list[list[str]]) -> None:
    print("| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("--out", type=Path, default=Path("scripts/plots"))
    parser.add_argument("--recall-at", help="the corpus of the recall plot; the largest real one if left out")
    args = parser.parse_args()
    results = Results(args.work / "results.jsonl")
    print_tables(results)
    real = [corpus for corpus in results.corpora() if not corpus.startswith("g")]
    recall_at = args.recall_at or real[-1]
    shown = {("lsr", setting) for setting in GROWTH_SETTINGS} | {("SINDI, float", "exact")}
    for corpus in results.corpora():
        if int(corpus.lstrip("g")) >= 250_000:
            print_lengths(results, corpus, shown)
    print("\nExponents over the grown sizes:\n")
    _table(["engine", "setting", "queries", "exponent"],
           [[*name, f"{power:.2f}"] for name, power in exponents(results).items()])  # fmt: skip
    print(f"\nLoad while measuring: median {np.median(results.loads):.1f}, most {max(results.loads):.1f}.")
    args.out.mkdir(parents=True, exist_ok=True)
    plot_recall(results, recall_at, args.out)
    plot_growth(results, args.out)


if __name__ == "__main__":
    main()
