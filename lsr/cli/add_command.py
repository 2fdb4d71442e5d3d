"""``lsr add``: more documents for an index."""

from __future__ import annotations

import argparse
from typing import Any

from lsr.cli.writing import add_writing_parser, counted, print_notes, standing, write

_EXAMPLES = """\
examples:
  lsr add notes.index new-notes/              a folder of .txt, .md, .rst and .html
  lsr add my.index more.jsonl.gz even-more.csv
  tail -n 100 log.jsonl | lsr add my.index -  JSON Lines from standard input
"""


def add_parser(subparsers: Any) -> None:
    """Add this sub-command to the command line."""
    parser = add_writing_parser(
        subparsers,
        "add",
        "add documents to an index",
        (
            "Encode documents with the encoder that filled the index, and add them. All of them become "
            "visible at once; searches go on meanwhile. A document whose id is in the index already is an "
            "error; see lsr update."
        ),
        _EXAMPLES,
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Add the documents and report on it."""
    from lsr.retrieval import add_documents

    report = write(args, add_documents, "Adding")
    if not (args.quiet or args.json):
        print(
            f"Added {counted(report.added)} to {report.folder} in {report.seconds:.1f} s: {standing(report)}"
        )
        print_notes(report)
    return 0
