"""``lsr mine``: hard negatives for training pairs, with scores."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from lsr.cli.options import compute_options, output_options, positive_int
from lsr.cli.program import program

_EXAMPLES = """\
examples:
  lsr mine pairs.jsonl.gz -o mined.jsonl.gz                 bm25 over the pairs' own positives
  lsr mine pairs.jsonl --corpus corpus.jsonl -o mined.jsonl --encoder my-encoder
  lsr mine pairs.jsonl -o mined.jsonl --dense sentence-transformers/all-MiniLM-L6-v2 --margin 5%
  lsr mine beir-folder/ --split train -o mined.jsonl --ranks 10-100 --negatives 8
  lsr mine pairs.jsonl -o mined.jsonl --teacher cross-encoder:cross-encoder/ms-marco-MiniLM-L6-v2

A line of the result is {"query", "positive", "negatives", "scores"}: the positive's score first. Documents
that score above the positive less the margin are taken for unlabelled positives and left out.
"""


def add_parser(subparsers: Any) -> None:
    """Add this sub-command to the command line."""
    parser = subparsers.add_parser(
        "mine",
        help="find hard negatives for training pairs",
        description=(
            "Search a corpus for each query of training pairs (JSON Lines, or a BEIR folder's judged queries) and\n"
            "write the pairs with the documents found, less likely positives, as hard negatives, with scores."
        ),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[compute_options(), output_options()],
    )
    parser.add_argument("pairs", metavar="PAIRS", help="a file, folder or pattern of pairs, or a BEIR folder")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="JSON Lines; .gz compresses")
    parser.add_argument(
        "--corpus",
        metavar="CORPUS",
        help="what is searched (default: the positives, or the BEIR folder's corpus)",
    )
    parser.add_argument(
        "--split", metavar="NAME", default="train", help="a BEIR folder's qrels (default: train)"
    )
    search = parser.add_argument_group("searching")
    chosen = search.add_mutually_exclusive_group()
    chosen.add_argument(
        "--encoder", metavar="NAME_OR_PATH", default="bm25", help="sparse encoder (default: bm25)"
    )
    chosen.add_argument("--dense", metavar="MODEL", help="a dense model, searched with faiss")
    chosen.add_argument(
        "--index", metavar="INDEX", help="an index that is there, with its own encoder and texts"
    )
    search.add_argument(
        "--ranks",
        metavar="FIRST-LAST",
        default="1-100",
        help="negatives come from these ranks (default: 1-100)",
    )
    picking = parser.add_argument_group("picking")
    picking.add_argument(
        "--negatives",
        type=positive_int,
        default=8,
        metavar="N",
        help="negatives a pair, at most (default: 8)",
    )
    picking.add_argument(
        "--pick",
        choices=["top", "random"],
        default="top",
        help="the best ranked, or any of the ranks (default: top)",
    )
    picking.add_argument(
        "--margin",
        default="0",
        metavar="M",
        help="a negative scores below the positive by this much: a number, or 5%% of the positive's (default: 0)",
    )
    picking.add_argument(
        "--teacher",
        metavar="KIND:MODEL",
        help="score by dense:MODEL, sparse:MODEL or cross-encoder:MODEL, not by the search",
    )
    picking.add_argument("--seed", type=int, default=0, help="of --pick random (default: 0)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Mine and report how many negatives were found."""
    from dataclasses import asdict
    from pathlib import Path

    from lsr.cli.progress import progress
    from lsr.encoders.options import EncoderOptions
    from lsr.training.mining import MineOptions, mine, read_mining_pairs
    from lsr.whole_file import whole_file

    options = MineOptions.parse(
        ranks=args.ranks,
        negatives=args.negatives,
        margin=args.margin,
        pick=args.pick,
        teacher=args.teacher,
        seed=args.seed,
    )
    encoder_options = EncoderOptions(
        batch_size=args.batch_size, max_length=args.max_length, device=args.device, threads=args.threads
    )
    pairs, corpus = read_mining_pairs(args.pairs, args.split)
    with (
        whole_file(Path(args.output)) as file,
        progress("Mining", len(pairs), unit="pairs", quiet=args.quiet or args.json) as bar,
    ):
        report = mine(
            pairs,
            file,
            options,
            corpus=args.corpus or corpus,
            encoder=args.encoder,
            dense=args.dense,
            index=args.index,
            encoder_options=encoder_options,
            progress=bar.advance,
        )
    if args.json:
        print(json.dumps({**asdict(report), "output": args.output}))
    elif not args.quiet:
        print(
            f"Wrote {report.pairs:,} pairs with {report.negatives / max(report.pairs, 1):.1f} negatives each to "
            f"{args.output}; {report.filtered:,} documents within the margin left out"
            + (f", {report.bare:,} pairs without any negative" if report.bare else "")
        )
        print(
            f"Train on it: {program()} train CONFIG.yaml --set 'data.sources=[{{path: {args.output}}}]' -o DIR"
        )
    sys.stdout.flush()
    return 0
