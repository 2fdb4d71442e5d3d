"""``lsr index``: a corpus becomes an index."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lsr.cli.options import (
    compute_options,
    durability_options,
    encoder_options,
    encoder_options_from,
    output_options,
    positive_int,
    read_options_from,
    reading_options,
)
from lsr.cli.program import program
from lsr.errors import UserError

if TYPE_CHECKING:
    from lsr.corpus import ReadReport
    from lsr.retrieval import BuildReport

_EXAMPLES = """\
examples:
  lsr index notes/ -o notes.index                         a folder of .txt, .md, .rst and .html
  lsr index corpus.jsonl.gz more.csv -o my.index          several files, one index
  lsr index posts.parquet -o posts.index --id-field post_id --text-field title --text-field body
  lsr index python-docs -o python.index                   Python's own documentation
  lsr index beir/scifact -o scifact.index                 an ir_datasets id
  lsr index corpus.jsonl -o my.index --encoder PATH       a learned sparse model
  lsr index corpus.jsonl -o my.index --encoder PATH --resume   give it again if it was interrupted
  zcat dump.gz | lsr index - -o dump.index                JSON Lines from standard input
  lsr index parts/*.jsonl -o /shared/my.index --encoder PATH --ray head:6379   a Ray cluster builds it, in shards
"""


def add_parser(subparsers: Any) -> None:
    """Add this sub-command to the command line."""
    parser = subparsers.add_parser(
        "index",
        help="build an index from a corpus",
        description=(
            "Encode a corpus and build an index of it. CORPUS is a .jsonl, .csv, .tsv (also .gz or .zst) or "
            ".parquet file, a .txt, .md, .rst or .html file or a folder of them, a BEIR folder, an ir_datasets id, "
            'python-docs, or - for JSON Lines on standard input. JSON Lines with a "vector" of term weights are '
            "indexed as they are."
        ),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[
            encoder_options(default=None),
            compute_options(),
            reading_options(),
            durability_options(),
            output_options(),
        ],
    )
    parser.add_argument("corpus", nargs="+", metavar="CORPUS", help="what to index; several make one index")
    parser.add_argument("-o", "--output", required=True, metavar="INDEX", help="folder for the index")
    parser.add_argument("--overwrite", action="store_true", help="replace the index at -o when all is done")
    parser.add_argument(
        "--impact-bits",
        type=int,
        choices=[8, 16],
        default=8,
        help="bits a term weight is stored in (default: 8)",
    )
    parser.add_argument("--no-texts", action="store_true", help="do not keep texts; results have no snippets")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="keep what is encoded if the job is interrupted; the same command goes on from there",
    )
    parser.add_argument(
        "--deduplicate",
        choices=["text"],
        help="leave out documents whose title and text, white space aside, are those of an earlier one",
    )
    cluster = parser.add_argument_group("several machines")
    cluster.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="spread the work over a Ray cluster and build a sharded index: HOST:PORT of its head, auto, or local "
        "(workers on this machine); -o is on storage that all machines see",
    )
    cluster.add_argument(
        "--shards",
        type=positive_int,
        metavar="N",
        help="with --ray: parts of the index (default: one a worker)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Build the index and report on it."""
    from lsr.cli.progress import progress
    from lsr.corpus import ReadReport, estimate_total

    read_report = ReadReport()
    quiet = args.quiet or args.json
    total = None if quiet or not sys.stderr.isatty() else estimate_total(args.corpus)
    try:
        with progress("Indexing", total, quiet=quiet, fraction=lambda: read_report.fraction) as bar:
            report = _build(args, read_report, bar.advance)
    except KeyboardInterrupt:
        if not args.resume:
            raise
        print("lsr: interrupted; the same command goes on with what is encoded.", file=sys.stderr)
        return 130
    if args.json:
        print(json.dumps({**asdict(report), "terms_per_document": report.terms_per_document}))
        return 0
    if args.quiet:
        return 0
    documents = f"{report.documents:,} document{'s' * (report.documents != 1)}"
    print(
        f"Indexed {documents} with {report.encoder} in {report.seconds:.1f} s: "
        f"{report.terms_per_document:.1f} terms a document, {_megabytes(report.index_bytes)} in {report.folder}"
        + (f", {report.shards} shard{'s' * (report.shards != 1)}" if report.shards else "")
    )
    notes = [read_report.summary()]
    if report.same_text:
        notes.append(f"{report.same_text:,} with the text of an earlier document left out.")
    if report.resumed_documents:
        notes.append(f"{report.resumed_documents:,} had been encoded before the job was interrupted.")
    if report.empty_documents:
        notes.append(f"{report.empty_documents:,} without any term: they are stored but can't be found.")
    if report.cut_documents:
        notes.append(
            f"{report.cut_documents:,} longer than the encoder reads: cut there. "
            "Read them whole with --long-documents windows, or further with --max-length."
        )
    for note in filter(None, notes):
        print(f"  note: {note}")
    print(f'Search it: {program()} search {report.folder} "your question"')
    return 0


def _build(args: argparse.Namespace, read_report: ReadReport, progress: Callable[[int], None]) -> BuildReport:
    """Build on this machine, or on a cluster."""
    from lsr.retrieval import build_index

    options: dict[str, Any] = {
        "options": encoder_options_from(args),
        "read_options": read_options_from(args),
        "read_report": read_report,
        "overwrite": args.overwrite,
        "impact_bits": args.impact_bits,
        "store_texts": not args.no_texts,
        "durable": not args.no_sync,
        "deduplicate": args.deduplicate,
        "resume": args.resume,
        "progress": progress,
    }
    if args.ray is None:
        if args.shards is not None:
            raise UserError("--shards divides what --ray builds; name a cluster, or --ray local.")
        return build_index(args.corpus, args.output, args.encoder, **options)
    from lsr.cluster import RayExecutor, build_sharded_index

    # A worker computes with as many threads as it has processors.
    options["options"] = dataclasses.replace(options["options"], threads=args.threads or 1)
    with RayExecutor(args.ray, processors=args.threads or 1) as executor:
        report = build_sharded_index(
            args.corpus, args.output, args.encoder, executor=executor, shards=args.shards, **options
        )
        if executor.lost and not (args.quiet or args.json):
            print(f"  note: {executor.lost} workers were lost; others did their work.", file=sys.stderr)
        return report


def _megabytes(count: int) -> str:
    """Return a size in bytes for people."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
