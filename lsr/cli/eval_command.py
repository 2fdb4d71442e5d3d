"""``lsr eval``: measure an encoder on test collections."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lsr.cli.options import (
    DEFAULT_ENCODER,
    compute_options,
    encoder_options,
    encoder_options_from,
    output_options,
    positive_int,
)
from lsr.errors import UserError

if TYPE_CHECKING:
    from lsr.eval import Dataset, Evaluation

_EXAMPLES = """\
examples:
  lsr eval scifact/                          a BEIR folder: corpus.jsonl, queries.jsonl, qrels/test.tsv
  lsr eval beir/scifact/test --json          an ir_datasets id, figures as JSON
  lsr eval collections/*                     several, with their mean
  lsr eval scifact/ --encoder my-model       a trained model
  lsr eval scifact/ --index scifact.index    keep the index, or search the one that is there
  lsr eval msmarco/ --split dev -k 100       other judgements, rankings of 100 documents

MAP and recall count documents judged 1 and above as relevant; nDCG takes judgements as linear gains,
as BEIR and trec_eval do. Only judged queries are searched for; one without results counts as 0.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``lsr eval`` to the command line."""
    parser = subparsers.add_parser(
        "eval",
        help="measure an encoder on test collections",
        description=(
            "Index, search and score test collections: nDCG@10, MRR@10, MAP, recall, terms a text,\n"
            "FLOPS, index size and times. Writes the rankings in TREC format."
        ),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[encoder_options(default=None), compute_options(), output_options()],
    )
    parser.add_argument("datasets", nargs="+", metavar="DATASET", help="a BEIR folder or an ir_datasets id")
    parser.add_argument("--split", metavar="NAME", help="judgements to use (default for a folder: test)")
    parser.add_argument(
        "-k", type=positive_int, default=1000, metavar="N", help="documents a ranking holds (default: 1000)"
    )
    parser.add_argument(
        "--index",
        type=Path,
        metavar="INDEX",
        help="search this index with its own encoder, or build it there with --encoder (default: bm25) and "
        "keep it; for several data sets, a folder that holds one index for each (default: build one and "
        "remove it afterwards)",
    )
    runs = parser.add_mutually_exclusive_group()
    runs.add_argument(
        "--run",
        dest="run_path",
        type=Path,
        metavar="OUT",
        help="write the ranking to this file; for several data sets, one file for each into this folder "
        "(default: runs/DATASET.ENCODER.trec)",
    )
    runs.add_argument("--no-run", action="store_true", help="write no ranking")
    parser.add_argument(
        "--drop-query-document",
        action=argparse.BooleanOptionalAction,
        help="leave the document with the query's own id out of its ranking (default: for ArguAna and Quora, "
        "where queries are documents)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate each data set and print the figures."""
    from rich.console import Console

    from lsr.cli.progress import progress
    from lsr.eval import evaluate, load_dataset
    from lsr.eval.report import print_report

    options = encoder_options_from(args)
    datasets = [load_dataset(name, args.split) for name in args.datasets]
    several = len(datasets) > 1
    if several:
        _check_names(datasets)
    done: list[Evaluation] = []
    try:
        for dataset in datasets:
            index = args.index / dataset.file_name if args.index and several else args.index
            done.append(
                evaluate(
                    dataset,
                    args.encoder,
                    index=index,
                    options=options,
                    k=args.k,
                    run=None if args.no_run else _run_path(args, dataset, index, several),
                    threads=args.threads,
                    drop_query_document=args.drop_query_document,
                    progress=partial(progress, quiet=args.quiet),
                )
            )
            if args.json:
                print(json.dumps(done[-1].as_dict()), flush=True)
    finally:
        # What was measured before a failure is not lost.
        if done and not args.json:
            print_report(done, Console(), notes=not args.quiet)
    return 0


def _check_names(datasets: Sequence[Dataset]) -> None:
    names = Counter(dataset.file_name for dataset in datasets)
    name, count = names.most_common(1)[0]
    if count > 1:
        raise UserError(
            f"{count} of the data sets are called {name!r} and would write the same files; "
            f"evaluate them one at a time."
        )


def _run_path(args: argparse.Namespace, dataset: Dataset, index: Path | None, several: bool) -> Path:
    if args.run_path and not several:
        return Path(args.run_path)
    folder = args.run_path or Path("runs")
    return Path(folder) / f"{dataset.file_name}.{_encoder_label(args.encoder, index)}.trec"


def _encoder_label(encoder: str | None, index: Path | None) -> str:
    """Return the encoder's name as one part of a file name."""
    if encoder is None and index is not None and index.exists():
        from lsr.index import Index

        with Index(index) as opened:
            encoder = str(opened.manifest.encoder["name"])
    from lsr.eval.datasets import file_name

    encoder = encoder or DEFAULT_ENCODER
    if Path(encoder).exists():
        encoder = Path(encoder).resolve().name
    return file_name(encoder)
