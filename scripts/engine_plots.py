"""The two plots of the benchmark: latency against recall, and latency against corpus size."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.fonttype"] = "none"
import matplotlib.pyplot as plt
from engine_results import Key, Results, exponents, title
from vectors import KINDS

# In the growth plot: an engine's first setting, and these of lsr. Slow enough to hide the others: not shown.
GROWTH_SETTINGS = ("exhaustive", "block-max", "auto", "recall .99")


_MARKERS = "*os^Dv<>phXPd"


def plot_recall(results: Results, corpus: str, path: Path) -> None:
    figure, axes = plt.subplots(1, len(KINDS), figsize=(11, 5.2), sharey=True, layout="constrained")
    curves: dict[str, list[Key]] = defaultdict(list)
    for key in results.figures:
        if key.corpus == corpus:
            # Algorithms of lsr stand alone; its wanted recalls are one curve, as are an engine's settings.
            own = f"lsr, {key.setting.split(' ')[0]}" if key.engine == "lsr" else key.engine
            curves[own].append(key)
    for axis, kind in zip(axes, KINDS, strict=True):
        for number, (engine, keys) in enumerate(curves.items()):
            points = [results.figures[key] for key in keys if key.kind == kind]
            points.sort(key=lambda point: point["recall@10"])
            size = 9 if engine.startswith("lsr") else 5
            style = {
                "marker": _MARKERS[number % len(_MARKERS)],
                "color": f"C{number % 10}",
                "markersize": size,
            }
            axis.plot([p["recall@10"] for p in points], [p["mean_ms"] for p in points],
                      linewidth=1, label=engine, **style)  # fmt: skip
        axis.set(title=f"{kind} queries", xlabel="recall@10", yscale="log", xlim=(0.6, 1.01))
        axis.grid(True, which="both", alpha=0.25)
    axes[0].set_ylabel("mean ms a query, one thread")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=7, ncols=6, loc="outside lower center")
    figure.suptitle(f"Latency against recall, {title(corpus)}", fontsize=11)
    figure.savefig(path)
    plt.close(figure)


def plot_growth(results: Results, path: Path) -> None:
    figure, axes = plt.subplots(1, len(KINDS), figsize=(11, 5.2), sharey=True, layout="constrained")
    first, powers = results.first_settings(), exponents(results)
    names = list(dict.fromkeys((key.engine, key.setting) for key in results.figures))
    names = [n for n in names if n[1] in (GROWTH_SETTINGS if n[0] == "lsr" else (first[n[0]],))]
    for axis, kind in zip(axes, KINDS, strict=True):
        for number, (engine, setting) in enumerate(names):
            style = {"marker": _MARKERS[number % len(_MARKERS)], "color": f"C{number % 10}", "markersize": 5}
            label = engine if setting == "exact" else f"{engine}, {setting}"
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
        sizes = sorted({int(corpus.lstrip("g")) for corpus in results.corpora()})
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=7)
        axis.minorticks_off()
        axis.grid(True, which="both", alpha=0.25)
        axis.legend(fontsize=6.5, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    axes[0].set_ylabel("mean ms a query, one thread")
    figure.suptitle("Latency against corpus size: real (solid), grown (dashed; its exponent)", fontsize=11)
    figure.savefig(path)
    plt.close(figure)
