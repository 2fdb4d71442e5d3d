"""What ``lsr add`` and ``lsr update`` have in common."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lsr.cli.options import (
    compute_options,
    durability_options,
    output_options,
    read_options_from,
    reading_options,
)

if TYPE_CHECKING:
    from lsr.retrieval import ChangeReport


def add_writing_parser(subparsers: Any, name: str, summary: str, description: str, epilog: str) -> Any:
    """Add a sub-command that takes an index and a corpus."""
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[compute_options(), reading_options(), durability_options(), output_options()],
    )
    parser.add_argument("index", metavar="INDEX", help="folder of the index")
    parser.add_argument("corpus", nargs="+", metavar="CORPUS", help="documents, as lsr index takes them")
    parser.add_argument(
        "--encoder",
        metavar="NAME_OR_PATH",
        help="where the encoder that filled the index lies now (default: where it lay then)",
    )
    return parser


def write(args: argparse.Namespace, action: Callable[..., ChangeReport], doing: str) -> ChangeReport:
    """Run `action` on the parsed arguments with a progress bar, and print its report as JSON if asked for."""
    from lsr.cli.progress import progress
    from lsr.corpus import ReadReport, estimate_total
    from lsr.encoders.options import EncoderOptions

    read_report = ReadReport()
    quiet = args.quiet or args.json
    total = None if quiet or not sys.stderr.isatty() else estimate_total(args.corpus)
    options = EncoderOptions(
        batch_size=args.batch_size, max_length=args.max_length, device=args.device, threads=args.threads
    )
    with progress(doing, total, quiet=quiet, fraction=lambda: read_report.fraction) as bar:
        report = action(
            args.corpus,
            args.index,
            args.encoder,
            options=options,
            read_options=read_options_from(args),
            read_report=read_report,
            durable=not args.no_sync,
            progress=bar.advance,
        )
    if args.json:
        print(json.dumps(asdict(report)))
    elif not args.quiet and (note := read_report.summary()):
        print(f"  note: {note}", file=sys.stderr)
    return report


def print_notes(report: ChangeReport) -> None:
    """Print what a person should know about a change beside its one line."""
    notes = []
    if report.empty_documents:
        notes.append(f"{report.empty_documents:,} without any term: they are stored but can't be found.")
    if report.cut_documents:
        notes.append(f"{report.cut_documents:,} longer than the encoder reads: cut there.")
    if report.saturated:
        notes.append(
            f"{report.saturated:,} term weights are above what the index was created for, and stored as its "
            "highest; if there are many, build the index again."
        )
    for name, (before, after) in report.retyped.items():
        notes.append(
            f"the field {name} held values of the type {before} and is {after} from now on, since new documents "
            "have others; filters compare it as that."
        )
    if report.merge_problem:
        notes.append(
            f"the change is in place, but merging segments failed ({report.merge_problem.rstrip('.')}); "
            "the next change tries again."
        )
    for note in notes:
        print(f"  note: {note}")


def standing(report: ChangeReport) -> str:
    """Return how the index stands after a change."""
    segments = f"{report.segments} segment{'s' * (report.segments != 1)}"
    return f"{counted(report.documents)} in {segments}"


def counted(documents: int) -> str:
    """Return a number of documents in words."""
    return f"{documents:,} document{'s' * (documents != 1)}"
