"""``lsr update``: newer forms of documents take the place of older ones."""

from __future__ import annotations

import argparse
from typing import Any

from lsr.cli.writing import add_writing_parser, counted, print_notes, standing, write

_EXAMPLES = """\
examples:
  lsr update notes.index notes/               files that changed, and new ones
  lsr update my.index changes.jsonl           a log of changes: the last form of an id counts
"""


def add_parser(subparsers: Any) -> None:
    """Add this sub-command to the command line."""
    parser = add_writing_parser(
        subparsers,
        "update",
        "replace documents of an index by id, and add new ones",
        (
            "Encode documents with the encoder that filled the index, and put each in the place of the one "
            "with its id; new ids are added. All of it becomes visible at once. Where the corpus has an id "
            "several times, the last form counts."
        ),
        _EXAMPLES,
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replace the documents and report on it."""
    from lsr.retrieval import update_documents

    report = write(args, update_documents, "Updating")
    if not (args.quiet or args.json):
        print(
            f"Replaced {counted(report.replaced)} of {report.folder} and added {report.added:,} in "
            f"{report.seconds:.1f} s: {standing(report)}"
        )
        print_notes(report)
    return 0
