"""``lsr train``: a configuration becomes an encoder."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from lsr.cli.options import output_options
from lsr.cli.program import program

_EXAMPLES = """\
examples:
  lsr train my.yaml -o my-encoder                         a configuration of one's own
  lsr train inference-free -o my-encoder \\                a preset, with data
      --set 'data.sources=[{path: pairs.jsonl.gz}]' --set training.steps=2000
  lsr train my.yaml -o my-encoder --resume                go on after a crash, exactly
  torchrun --nproc-per-node 4 -m lsr.cli.main train my.yaml -o my-encoder

a configuration (YAML):
  preset: inference-free            or a model section and losses of one's own
  model: {backbone: distilbert-base-uncased}
  data:
    sources:
      - {path: pairs/*.jsonl.gz}    lines of {"query", "positive"[, "negatives"][, "scores"]}
      - {corpus: notes/, pairs: title-to-body, weight: 0.5}    or inverse-cloze: pairs of raw text
    batches: one-source             default: mixed
  teachers:
    - {kind: dense, model: sentence-transformers/all-MiniLM-L6-v2}
    - {kind: bm25}                  also sparse, cross-encoder
  losses:
    ranking: {kl: {over: batch}}
    sparsity: {documents: {flops: {weight: 0.002, schedule: {name: quadratic, share: 0.33}}}}
  training: {steps: 2000, batch_size: 64, learning_rate: 5.0e-5, bf16: true, cache_chunk: 16,
             checkpoint_every: 200, dev: beir/scifact/train}

The folder holds the encoder, and in training/ the configuration, log.csv, log.png, TensorBoard's
log and checkpoints.
"""


def add_parser(subparsers: Any) -> None:
    """Add this sub-command to the command line."""
    parser = subparsers.add_parser(
        "train",
        help="train an encoder",
        description="Train an encoder by a YAML configuration or a preset.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[output_options()],
    )
    parser.add_argument("config", metavar="CONFIG", help="a YAML file or the name of a preset")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for the encoder")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change a setting, e.g. training.steps=1000; may be repeated",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in DIR")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train and say how it went."""
    from dataclasses import asdict

    from lsr.training.config import load_config
    from lsr.training.run import train

    quiet = args.quiet or args.json

    def report(line: str) -> None:
        if not quiet:
            print(line, file=sys.stderr, flush=True)

    config, values = load_config(args.config, args.set)
    done = train(config, args.output, resume=args.resume, values=values, report=report)
    if int(os.environ.get("RANK", "0")) > 0:
        # torchrun's first process speaks for all.
        return 0
    if args.json:
        print(json.dumps(asdict(done)))
    elif not args.quiet:
        terms = done.figures.get("document_terms")
        print(
            f"Trained {done.steps:,} steps in {done.seconds:.0f} s: loss {done.figures.get('loss', float('nan')):.4g}"
            + (f", {terms:.0f} terms a document" if terms is not None else "")
            + (f", best dev nDCG@10 {done.dev:.4f}" if done.dev is not None else "")
            + f"; the encoder is in {done.folder}"
        )
        print(f"Use it: {program()} index CORPUS -o my.index --encoder {done.folder}")
    return 0
