"""Tables and plots of what compare_engines.py measured.

    python scripts/report_engines.py WORK --out scripts/plots

Reads ``WORK/results.jsonl``, takes the median over passes of every figure, prints Markdown tables and
writes two plots: latency against recall at one size, and latency against corpus size, with the
exponent b of time = a * size^b fitted to the grown sizes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from engine_plots import GROWTH_SETTINGS, plot_growth, plot_recall
from engine_results import Key, Results, exponents, title
from vectors import KINDS

BASE = "lsr", "exhaustive"
# All settings of these are in the tables.
MORE = ("lsr", "pyseismic-lsr")


def print_tables(results: Results, everything: bool) -> None:
    """Print builds and times; of the settings the first ones alone unless `everything` is asked for."""
    first = results.first_settings()
    for corpus in results.corpora():
        print(f"\n### {title(corpus)}\n")
        heads = ["engine", "build s", "processor s", "index MB", "bytes a posting", "resident MB", "open s"]
        _table(heads, _build_rows(results, corpus))
        print()
        heads = ["engine", "setting"]
        for kind in KINDS:
            heads += [f"{kind}: mean ms", "times lsr exhaustive", "p50", "p95", "p99", "recall@10", "@100"]
        rows = _search_rows(results, corpus)
        _table(heads, [row for row in rows if everything or row[0] in MORE or first[row[0]] == row[1]])


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
    parser.add_argument("--format", default="svg", help="of the plots: svg or png")
    parser.add_argument("--all-settings", action="store_true")
    args = parser.parse_args()
    results = Results(args.work / "results.jsonl")
    print_tables(results, args.all_settings)
    real = [corpus for corpus in results.corpora() if not corpus.startswith("g")]
    recall_at = args.recall_at or real[-1]
    shown = {("lsr", setting) for setting in GROWTH_SETTINGS} | {("SINDI, float", "exact")}
    grown = [corpus for corpus in results.corpora() if corpus.startswith("g")]
    for corpus in real[-1:] + grown[-1:]:
        print_lengths(results, corpus, shown)
    print("\nExponents over the grown sizes:\n")
    _table(["engine", "setting", "queries", "exponent"],
           [[*name, f"{power:.2f}"] for name, power in exponents(results).items()])  # fmt: skip
    print(f"\nLoad while measuring: median {np.median(results.loads):.1f}, most {max(results.loads):.1f}.")
    args.out.mkdir(parents=True, exist_ok=True)
    plot_recall(results, recall_at, args.out / f"latency_recall.{args.format}")
    plot_growth(results, args.out / f"latency_size.{args.format}")


if __name__ == "__main__":
    main()
