"""``lsr compare``: runs from anywhere, side by side."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsr.cli.options import output_options, positive_int
from lsr.errors import UserError

if TYPE_CHECKING:
    from lsr.eval.run_comparison import RunComparison

_EXAMPLES = """\
examples:
  lsr compare bm25.trec mine.trec --qrels qrels/test.tsv
  lsr compare bm25.trec a.trec b.trec --qrels dl19.qrels --relevant-from 2 --metrics ndcg@10,map
  lsr compare bm25.trec mine.trec --qrels qrels/test.tsv --queries queries.jsonl --index scifact.index

The first run is the one that the others are compared with. Equal scores are ordered as trec_eval orders
them, by falling document id, so that figures are trec_eval's; --ties line keeps the order of the lines.
A judged query that a run lacks counts as 0 (trec_eval -c). p: Fisher's randomisation test, corrected after
Holm for all comparisons shown.
"""


def add_parser(subparsers: Any) -> None:
    """Add ``lsr compare`` to the command line."""
    parser = subparsers.add_parser(
        "compare",
        help="compare runs: metrics, significance, the queries that moved",
        description=(
            "Score TREC runs from anywhere against judgements: metrics, differences with intervals and tests,\n"
            "wins and losses, and the queries that moved most."
        ),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[output_options()],
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="TREC runs, plain or .gz; two or more")
    parser.add_argument(
        "--qrels", required=True, metavar="FILE", help="judgements, BEIR's TSV or TREC's form"
    )
    parser.add_argument(
        "--metrics",
        metavar="NAMES",
        help="metrics by ranx's names, the first is tested (default: those of lsr eval)",
    )
    parser.add_argument(
        "--relevant-from",
        type=int,
        default=1,
        metavar="SCORE",
        help="least judgement that MAP, MRR and recall count as relevant (default: 1; TREC DL passages: 2)",
    )
    parser.add_argument(
        "--ties",
        choices=["trec_eval", "line"],
        default="trec_eval",
        help="order of equal scores (default: trec_eval)",
    )
    parser.add_argument(
        "--moved", type=positive_int, default=5, metavar="N", help="queries shown (default: 5)"
    )
    parser.add_argument("--queries", metavar="FILE", help="queries, to show their texts")
    parser.add_argument(
        "--index", metavar="INDEX", help="with --queries: explain documents by their terms in this index"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score and compare the runs."""
    if len(args.runs) < 2:
        raise UserError("Name at least two runs: lsr compare RUN_A RUN_B --qrels FILE.")
    if args.index and not args.queries:
        raise UserError("--index explains queries by their terms; name their texts with --queries FILE.")
    from lsr.eval.run_comparison import compare_runs

    metrics = args.metrics.split(",") if args.metrics else None
    compared = compare_runs(
        [Path(name) for name in args.runs],
        args.qrels,
        metrics=metrics,
        relevant_from=args.relevant_from,
        ties=args.ties,
        moved=args.moved,
        queries=args.queries,
        index=args.index,
    )
    if args.json:
        print(json.dumps(compared.as_dict(), ensure_ascii=False))
        return 0
    _show(compared, quiet=args.quiet)
    return 0


def _show(compared: RunComparison, quiet: bool) -> None:
    from lsr.eval.comparison_report import print_comparison
    from lsr.eval.console_report import report_console

    print_comparison(compared, report_console(), notes=not quiet)
