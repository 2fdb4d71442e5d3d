"""What the columns of all reports are called, and how their figures are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lsr.eval.evaluation import Evaluation
from lsr.eval.experiment import Experiment, Row

_HEADINGS = {"ndcg": "nDCG", "mrr": "MRR", "map": "MAP", "recall": "R", "precision": "P", "hit_rate": "Hit"}


def heading(metric: str) -> str:
    """Return a metric as papers write it."""
    base, at, depth = metric.partition("@")
    return f"{_HEADINGS.get(base, base)}{at}{depth}"


@dataclass(frozen=True, slots=True)
class CostColumn:
    """One column of a table of costs."""

    heading: str
    """With a line break where a narrow table may break it."""
    take: Callable[[Evaluation], float | None]
    form: str
    says: str
    """What it is, in a sentence's part."""

    @property
    def title(self) -> str:
        """The heading on one line."""
        return self.heading.replace("\n", " ").strip()


SIZES = (
    CostColumn(
        "terms\na doc", lambda one: one.cost.mean_document_terms, ",.1f", "mean distinct terms of a document"
    ),
    CostColumn(
        "terms\na query", lambda one: one.cost.mean_query_terms, ",.1f", "mean distinct terms of a query"
    ),
    CostColumn(
        "\nFLOPS", lambda one: one.cost.flops, ",.3f", "expected terms that a query and a document share"
    ),
    CostColumn("postings\na query", lambda one: one.cost.postings, ",.0f", "postings read for a query"),
    CostColumn("blocks\na query", lambda one: one.cost.blocks, ",.0f", "blocks scored for a query"),
    CostColumn(
        "index\nMB",
        lambda one: None if one.cost.index_bytes is None else one.cost.index_bytes / 1e6,
        ",.1f",
        "the index on disk without texts",
    ),
)

TIMES = (
    CostColumn(
        "encode\nms/doc",
        lambda one: (
            None if not one.cost.encode_seconds else 1000 * one.cost.encode_seconds / max(one.documents, 1)
        ),
        ",.2f",
        "encoding a document, in batches",
    ),
    CostColumn(
        "encode\nms/query",
        lambda one: one.query_encode_milliseconds,
        ",.2f",
        "encoding a query, in batches",
    ),
    CostColumn(
        "search\nqueries/s",
        lambda one: one.search_queries_per_second,
        ",.0f",
        "searching to full depth, all threads",
    ),
    CostColumn(
        "search\np50 ms",
        lambda one: one.cost.latency.p50 if one.cost.latency else None,
        ",.2f",
        "median time to search for one query alone, to depth 10, on one thread",
    ),
    CostColumn(
        "search\np99 ms",
        lambda one: one.cost.latency.p99 if one.cost.latency else None,
        ",.2f",
        "its 99th percentile",
    ),
    CostColumn(
        "answer\np50 ms",
        lambda one: one.cost.answer.p50 if one.cost.answer else None,
        ",.2f",
        "the same from the query's text, encoding it alone",
    ),
)

COSTS = (*SIZES, *TIMES)


def short_cost(experiment: Experiment, system: str, row: Row | None, column: CostColumn) -> str:
    """Return a cost as it is written in a table, ``-`` where there is none."""
    value = experiment.cost(system, row, column.take)
    return "-" if value is None else format(value, column.form)


def p_value(value: float | None) -> str:
    """Return a p-value with three places."""
    if value is None:
        return "-"
    return "<.001" if value < 0.001 else f"{value:.3f}".removeprefix("0") if value < 1 else "1"
