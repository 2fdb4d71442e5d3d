"""The options of ``lsr eval``."""

from __future__ import annotations

import argparse
from pathlib import Path

from lsr.cli.options import compute_options, encoder_options, output_options, positive_int
from lsr.eval.suites import DESCRIPTIONS

_EPILOG = """\
examples:
  lsr eval scifact/                          a BEIR folder: corpus.jsonl, queries.jsonl, qrels/test.tsv
  lsr eval beir/scifact/test --json          an ir_datasets id, figures as JSON
  lsr eval collections/*                     several, with their mean
  lsr eval beir-small --data ~/beir          a suite, from BEIR folders where they are there
  lsr eval scifact/ --encoder my-model       a trained model
  lsr eval scifact/ --index scifact.index    keep the index, or search the one that is there
  lsr eval msmarco/ --split dev -k 100       other judgements, rankings of 100 documents
  lsr eval beir-small --system bm25 --system default --system minilm=dense:all-MiniLM-L6-v2 \\
           --fuse rrf:bm25,minilm -o results  side by side, with tests, tables, plots and a report
  lsr eval --from results/result.json        the same again, and whether the figures are the same

suites:
{suites}

systems, each as [LABEL=]SYSTEM[,OPTION=VALUE...]:
  bm25, default, a folder, a Hugging Face id     our encoders and index; options: idf, max_terms, max_length,
                                                 long_documents, and the encoder's own (bm25,k1=0.9,b=0.4)
  bm25+rm3                                       with feedback; documents, terms, original
  dense:MODEL                                    sentence-transformers and faiss, exact
  lucene-bm25, lucene-bm25+rm3                   Anserini's baseline through pyserini; k1, b
  lucene-impact:ENCODER                          an encoder's weights searched by Lucene
  passages=150/75,aggregate=max                  for any of them: documents as passages of 150 words every
                                                 75, ranked by their best (max), first, or sum
fusions:    --fuse [LABEL=]rrf:SYSTEM,SYSTEM[,k=60], --fuse [LABEL=]weighted:SYSTEM,SYSTEM[,split=dev]
re-ranking: --rerank [LABEL=]SYSTEM:CROSS_ENCODER[,depth=100]
SYSTEM there is a label, or how one begins.

MAP and recall count documents judged 1 and above as relevant (TREC deep learning: 2); nDCG takes judgements
as linear gains, as BEIR and trec_eval do. Only judged queries are searched for; one without results counts
as 0. Equal scores keep the system's own order (the earlier document; Lucene: the lesser id), and runs are
written with strictly falling scores, so that trec_eval reads the same order and gives the same figures.

What was encoded and found is kept in a cache, by content of the data set, fingerprint of the model and
version of the code: an interrupted suite goes on where it was, and another system costs only itself.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add ``lsr eval`` to the command line and return its parser."""
    parser = subparsers.add_parser(
        "eval",
        help="measure systems on test collections",
        description=(
            "Index, search and score test collections: nDCG@10, MRR@10, MAP, recall, significance, terms a text,\n"
            "FLOPS, index size and times, for one system or several. Writes the rankings in TREC format."
        ),
        epilog=_EPILOG.replace(
            "{suites}", "\n".join(f"  {name:<14}{text}" for name, text in DESCRIPTIONS.items())
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[encoder_options(default=None), compute_options(), output_options()],
    )
    _add_data(parser)
    _add_systems(parser)
    _add_results(parser)
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data sets")
    parser.add_argument(
        "datasets", nargs="*", metavar="DATASET", help="a BEIR folder, an ir_datasets id, or a suite"
    )
    group.add_argument("--split", metavar="NAME", help="judgements to use (default for a folder: test)")
    group.add_argument(
        "--data", type=Path, metavar="FOLDER", help="where BEIR folders lie that stand for sets of BEIR"
    )
    group.add_argument(
        "--limit",
        type=positive_int,
        metavar="N",
        help="search for N queries of each data set, evenly spread; tables say so",
    )
    group.add_argument(
        "--drop-query-document",
        action=argparse.BooleanOptionalAction,
        help="leave the document with the query's own id out of its ranking (default: for ArguAna and Quora, "
        "where queries are documents)",
    )


def _add_systems(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("systems")
    group.add_argument(
        "--system", action="append", default=[], metavar="SPEC", help="a system; may be repeated"
    )
    group.add_argument("--fuse", action="append", default=[], metavar="SPEC", help="a fusion of systems")
    group.add_argument(
        "--rerank", action="append", default=[], metavar="SPEC", help="a system re-ranked by a cross-encoder"
    )
    group.add_argument(
        "--baseline", metavar="LABEL", help="what others are compared with (default: the first system)"
    )
    group.add_argument(
        "--index",
        type=Path,
        metavar="INDEX",
        help="for one system: search this index with its own encoder, or build it there with --encoder (default: "
        "default-tiny) and keep it; for several data sets, a folder that holds one index for each",
    )


def _add_results(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("results")
    group.add_argument(
        "-k", type=positive_int, default=1000, metavar="N", help="documents a ranking holds (default: 1000)"
    )
    group.add_argument(
        "--metrics",
        metavar="NAMES",
        help="by ranx's names, the first is tested (default: ndcg@10,mrr@10,map,recall@100,recall@1000)",
    )
    group.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help="write everything there: result.json, tables.md, tables.tex, plots/, report.html, runs/",
    )
    group.add_argument(
        "--report", type=Path, metavar="FILE", help="write the HTML report, one self-contained file"
    )
    runs = group.add_mutually_exclusive_group()
    runs.add_argument(
        "--run",
        dest="run_path",
        type=Path,
        metavar="OUT",
        help="write the ranking to this file; for several data sets or systems, one file for each into this "
        "folder (default: runs/DATASET.SYSTEM.trec, or in the folder of -o)",
    )
    runs.add_argument("--no-run", action="store_true", help="write no rankings")
    group.add_argument(
        "--from",
        dest="from_result",
        type=Path,
        metavar="RESULT",
        help="repeat what a result.json records, searching anew, and compare the figures",
    )
    kept = group.add_mutually_exclusive_group()
    kept.add_argument(
        "--cache",
        type=Path,
        metavar="FOLDER",
        help="where to keep what was encoded and found (default: LSR_CACHE, or the user's cache)",
    )
    kept.add_argument("--no-cache", action="store_true", help="keep nothing, take nothing kept")
    group.add_argument(
        "--fresh", action="store_true", help="search and time anew; encoded documents are kept"
    )
