"""``lsr delete``: documents leave an index."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lsr.cli.options import durability_options, output_options
from lsr.errors import UserError

_EXAMPLES = """\
examples:
  lsr delete my.index doc17 doc18
  lsr delete my.index --ids-from gone.txt     one id a line
  lsr delete my.index --ids-from - --skip-missing
"""


def add_parser(subparsers: Any) -> None:
    """Add this sub-command to the command line."""
    parser = subparsers.add_parser(
        "delete",
        help="delete documents from an index by id",
        description=(
            "Delete documents by id, all at once. Their space is reclaimed when segments are merged; "
            "lsr compact does it now."
        ),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[durability_options(), output_options()],
    )
    parser.add_argument("index", metavar="INDEX", help="folder of the index")
    parser.add_argument("ids", nargs="*", metavar="ID", help="ids of documents")
    parser.add_argument(
        "--ids-from", metavar="FILE", help="read ids from FILE, one a line (- for standard input)"
    )
    parser.add_argument(
        "--skip-missing", action="store_true", help="pass over ids that the index does not have"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Delete the documents and report on it."""
    from lsr.cli.writing import counted, print_notes, standing
    from lsr.retrieval import delete_documents

    ids = args.ids + (_read_ids(args.ids_from) if args.ids_from else [])
    if not ids:
        raise UserError("No documents are named; give their ids, or a file of them with --ids-from.")
    report = delete_documents(ids, args.index, skip_missing=args.skip_missing, durable=not args.no_sync)
    if args.json:
        print(json.dumps(asdict(report)))
    elif not args.quiet:
        print(f"Deleted {counted(report.deleted)} from {report.folder}: {standing(report)}")
        print_notes(report)
    return 0


def _read_ids(name: str) -> list[str]:
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        lines = content.decode("utf-8-sig").split("\n")
    except OSError as error:
        raise UserError(f"--ids-from {name} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UserError(f"--ids-from {name} is not UTF-8 text; give one id a line.") from None
    return [line for line in (line.rstrip("\r") for line in lines) if line]
