"""Evaluations for people: a table of quality and a table of cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lsr.eval.evaluation import Evaluation

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_HEADINGS = {
    "ndcg@10": "nDCG@10",
    "mrr@10": "MRR@10",
    "map": "MAP",
    "recall@100": "R@100",
    "recall@1000": "R@1000",
}

_Cell = Callable[[Evaluation], str]
_COSTS: tuple[tuple[str, _Cell], ...] = (
    ("terms\na doc", lambda one: f"{one.mean_document_terms:.1f}"),
    ("terms\na query", lambda one: f"{one.mean_query_terms:.1f}"),
    ("\nFLOPS", lambda one: f"{one.flops:.3f}"),
    ("index\nMB", lambda one: f"{one.index_bytes / 1e6:,.1f}"),
    ("encoded\ndocs/s", lambda one: _rate(one.encode_documents_per_second)),
    ("search\nqueries/s", lambda one: _rate(one.search_queries_per_second)),
    ("p50\nms", lambda one: f"{one.latency.p50:.2f}"),
    ("p99\nms", lambda one: f"{one.latency.p99:.2f}"),
)


def print_report(evaluations: Sequence[Evaluation], console: Console, *, notes: bool = True) -> None:
    """Print what was measured: metrics with their mean over the data sets, costs, notes and runs."""
    if not evaluations:
        return
    encoders = dict.fromkeys(one.encoder for one in evaluations)
    console.print(f"encoder: {', '.join(encoders)}", highlight=False, markup=False, soft_wrap=True)
    console.print(quality_table(evaluations))
    console.print(cost_table(evaluations))
    if not notes:
        return
    first = evaluations[0]
    threads = f"{first.threads} thread{'' if first.threads == 1 else 's'}"
    console.print(
        f"FLOPS: expected shared terms of a query and a document. Index: postings. "
        f"Search: depth {first.k}, {threads}; p50 and p99: one query alone, depth {first.latency.k}.",
        style="dim",
        highlight=False,
    )
    for one in evaluations:
        for note in one.notes:
            console.print(f"{one.dataset}: {note}.", style="yellow", highlight=False, markup=False)
    for one in evaluations:
        if one.run is not None:
            console.print(f"run: {one.run}", highlight=False, markup=False, soft_wrap=True)


def quality_table(evaluations: Sequence[Evaluation]) -> Table:
    """Return the metrics of each data set and, for more than one, their plain mean."""
    names = list(evaluations[0].metrics)
    table = _table(["docs", "queries", *(_HEADINGS.get(name, name) for name in names)])
    for one in evaluations:
        values = [f"{one.metrics[name]:.4f}" for name in names]
        table.add_row(one.dataset, f"{one.documents:,}", f"{one.queries:,}", *values)
    if len(evaluations) > 1:
        means = [sum(one.metrics[name] for one in evaluations) / len(evaluations) for name in names]
        table.add_section()
        table.add_row("mean", "", "", *(f"{mean:.4f}" for mean in means), style="bold")
    return table


def cost_table(evaluations: Sequence[Evaluation]) -> Table:
    """Return sparsity, size and speed of each data set."""
    table = _table([heading for heading, _ in _COSTS])
    for one in evaluations:
        table.add_row(one.dataset, *(cell(one) for _, cell in _COSTS))
    return table


def _table(headings: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("data set", overflow="fold", vertical="bottom")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
