"""``lsr compact``: one segment, without the traces of deleted documents."""

from __future__ import annotations

import argparse
import json
from typing import Any

from lsr.cli.options import durability_options, output_options

_EXAMPLES = """\
examples:
  lsr compact my.index             one segment, deleted documents gone
  lsr compact my.index --refresh   for bm25: the average length of today's documents, too
"""


def add_parser(subparsers: Any) -> None:
    """Add this sub-command to the command line."""
    parser = subparsers.add_parser(
        "compact",
        help="merge the segments of an index and reclaim the space of deleted documents",
        description=(
            "Merge all segments of an index into one, without the deleted documents. Nothing is encoded "
            "again; searches go on meanwhile and find the same before and after. Small segments are merged "
            "by lsr add and lsr update anyway."
        ),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[durability_options(), output_options()],
    )
    parser.add_argument("index", metavar="INDEX", help="folder of the index")
    parser.add_argument(
        "--refresh",
        action="store_true",
        help="for bm25: weigh all documents by the average length as it is now; scores change",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compact the index and report on it."""
    from lsr.index import Index
    from lsr.retrieval import compact_index

    with Index(args.index) as index:
        before = index.sizes()["total"]
    report = compact_index(args.index, refresh=args.refresh, durable=not args.no_sync)
    with Index(args.index) as index:
        documents, after = index.document_count, index.sizes()["total"]
    if args.json:
        facts = {"folder": str(args.index), "documents": documents, "bytes_before": before, "bytes": after}
        print(json.dumps({**facts, **report._asdict(), "refreshed": args.refresh}))
    elif not args.quiet:
        print(
            f"Compacted {args.index}: {documents:,} documents in 1 segment instead of {report.segments}, "
            f"{report.removed:,} deleted ones gone, {before:,} bytes before and {after:,} now"
        )
        if args.refresh:
            print(
                f"  weighed by a mean length of {report.average:.2f} words instead of {report.frozen_average:.2f}"
            )
    return 0
