"""``lsr export``: an index in the form of another engine."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lsr.cli.options import compute_options, output_options, positive_int
from lsr.errors import UserError

if TYPE_CHECKING:
    from lsr.export import ExportReport

_EXAMPLES = """\
examples:
  lsr export my.index --to opensearch -o export/          mapping, bulk files and a README.md on loading them
  lsr export my.index --to elasticsearch --url http://localhost:9200 --name papers   into a running one
  lsr export my.index --to qdrant --url ./qdrant          Qdrant's local mode; milvus: ./milvus.db
  lsr export my.index --to anserini -o export/ --queries queries.jsonl   with topics for these queries
  lsr export my.index --to ciff -o export/                for PISA, bmp and others
  lsr search my.index "solar panels" --engine opensearch --url http://localhost:9200
"""


def add_parser(subparsers: Any) -> None:
    """Add this sub-command to the command line."""
    parser = subparsers.add_parser(
        "export",
        help="write an index in the form of another engine, or load it into one",
        description=(
            "Export an index's live documents: as files in a folder (-o), or into a running engine (--url). What is "
            "exported are the stored impacts, so that the engine ranks as the index does; each term's weight in queries "
            "and how queries are put stand in the folder."
        ),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[compute_options(), output_options()],
    )
    parser.add_argument("index", metavar="INDEX", help="folder of the index")
    parser.add_argument(
        "--to",
        required=True,
        choices=["opensearch", "elasticsearch", "milvus", "qdrant", "vespa", "anserini", "ciff"],
        help="the engine or form",
    )
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "-o", "--output", metavar="FOLDER", help="write files there; it appears when all is done"
    )
    target.add_argument(
        "--url",
        metavar="URL",
        help="load into the engine that runs there; a key or USER:PASSWORD is taken from LSR_ENGINE_KEY",
    )
    parser.add_argument(
        "--name", metavar="NAME", help="what the engine is to call it (default: INDEX's name)"
    )
    parser.add_argument(
        "--no-texts", action="store_true", help="export ids and impacts, not titles, texts and fields"
    )
    parser.add_argument(
        "--queries", metavar="FILE", help="with -o: write these queries in the engine's form too"
    )
    parser.add_argument(
        "-k", type=positive_int, default=10, metavar="N", help="results those ask for (default: 10)"
    )
    parser.add_argument(
        "--idf",
        choices=["training", "corpus"],
        help="for inference-free encoders: the IDF that query weights are written with (default: the index's)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export and report on it."""
    from lsr.cli.progress import progress
    from lsr.encoders.options import EncoderOptions
    from lsr.export import export_index, load_into_engine
    from lsr.index import open_index

    if args.url and (args.queries or args.idf):
        raise UserError("--queries and --idf are written to files; name a folder with -o instead of --url.")
    with open_index(args.index) as index:
        total = index.document_count
    with progress("Exporting", total, quiet=args.quiet or args.json) as bar:
        if args.url:
            report = load_into_engine(
                args.index,
                args.to,
                args.url,
                collection=args.name,
                store_texts=not args.no_texts,
                progress=bar.advance,
            )
        else:
            from lsr.corpus import read_queries

            report = export_index(
                args.index,
                args.to,
                args.output,
                collection=args.name,
                options=EncoderOptions(
                    batch_size=args.batch_size, device=args.device, threads=args.threads, idf=args.idf
                ),
                queries=read_queries(args.queries) if args.queries else (),
                k=args.k,
                store_texts=not args.no_texts,
                progress=bar.advance,
            )
    if args.json:
        print(json.dumps(asdict(report)))
    elif not args.quiet:
        _print(report)
    return 0


def _print(report: ExportReport) -> None:
    documents = f"{report.documents:,} document{'s' * (report.documents != 1)}"
    if report.bytes:
        print(
            f"Exported {documents} for {report.engine} in {report.seconds:.1f} s: {report.bytes / 1e6:,.1f} MB in "
            f"{report.target}"
        )
        print(f"How to load and query them: {report.target.rstrip('/')}/README.md")
    else:
        print(
            f"Loaded {documents} into {report.collection!r} of {report.engine} at {report.target} in "
            f"{report.seconds:.1f} s"
        )
    for note in report.notes:
        print(f"  note: {note}", file=sys.stdout)
