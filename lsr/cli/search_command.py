"""``lsr search``: ask an index, once, in a prompt, or with a file of queries."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from lsr.cli.options import (
    compute_options,
    encoder_options,
    encoder_options_from,
    output_options,
    positive_int,
)
from lsr.errors import UserError

if TYPE_CHECKING:
    from scipy import sparse

    from lsr.index import Hits
    from lsr.retrieval import Searcher

_EXAMPLES = """\
examples:
  lsr search notes.index "battery life"                      the ten best documents
  lsr search notes.index "battery life" -k 3 --explain       which terms earned the score
  lsr search papers.index "sparse retrieval" --where "year >= 2020 and lang = 'en'"
  lsr search notes.index                                     a prompt that stays open
  lsr search my.index "solar panels" --engine opensearch --url http://localhost:9200
  lsr search my.index --queries queries.jsonl --run out.trec batches: BEIR JSON Lines or TSV in, TREC run out
"""


def add_parser(subparsers: Any) -> None:
    """Add this sub-command to the command line."""
    parser = subparsers.add_parser(
        "search",
        help="search an index",
        description=(
            "Search an index. Queries are encoded by the encoder that filled it. Without QUERY a prompt opens."
        ),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[encoder_options(default=None, documents=False), compute_options(), output_options()],
    )
    parser.add_argument("index", metavar="INDEX", help="folder of the index")
    parser.add_argument("query", nargs="?", metavar="QUERY", help="what to search for")
    parser.add_argument("-k", type=positive_int, default=10, metavar="N", help="results wanted (default: 10)")
    parser.add_argument(
        "--where",
        metavar="FILTER",
        help="search among the documents that this holds for: SQL over their fields, which lsr info lists; "
        "has(tags, 'red') looks into a list",
    )
    parser.add_argument(
        "--explain", action="store_true", help="show which terms earned each score, and what the search read"
    )
    parser.add_argument(
        "--algorithm",
        choices=["auto", "exhaustive", "blockmax", "vectorised"],
        default="auto",
        help="how the index is searched; all return the same results (default: auto, the fastest)",
    )
    engine = parser.add_argument_group("other engines")
    engine.add_argument(
        "--engine",
        choices=["opensearch", "elasticsearch", "milvus", "qdrant", "vespa"],
        help="let this engine rank, to which INDEX was exported (lsr export); INDEX gives queries and texts",
    )
    engine.add_argument(
        "--url",
        metavar="URL",
        help="with --engine: where it runs; may be a path for milvus and qdrant",
    )
    engine.add_argument(
        "--name", metavar="NAME", help="with --engine: what it calls the index (default: INDEX's name)"
    )
    parser.add_argument(
        "--recall",
        type=_share,
        default=1.0,
        metavar="SHARE",
        help="share of the best documents that is enough, such as .95; large indexes then answer somewhat "
        "faster (default: 1, exact)",
    )
    parser.add_argument(
        "--queries", metavar="FILE", help="JSON Lines (_id, text) or TSV (id, text) with queries"
    )
    parser.add_argument(
        "--run", dest="run_file", metavar="OUT", help="with --queries: where to write the TREC run"
    )
    parser.set_defaults(run=run)


def _share(text: str) -> float:
    """Parse a share of what there is, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share above 0 and at most 1")
    return value


def run(args: argparse.Namespace) -> int:
    """Search once, in a batch, or in a prompt."""
    if bool(args.queries) != bool(args.run_file):
        raise UserError("--queries FILE and --run OUT go together: one names the queries, the other the run.")
    if args.queries and args.query:
        raise UserError("Give either QUERY or --queries FILE, not both.")
    with _searcher(args) as searcher:
        if args.queries:
            return _batch(searcher, args)
        if args.query is not None:
            _answer(searcher, args.query, args)
            return 0
        return _prompt(searcher, args)


def _searcher(args: argparse.Namespace) -> Searcher:
    """Open the index, or the index and the engine that searches in its place."""
    from lsr.retrieval import Searcher

    options = encoder_options_from(args)
    if args.engine is None:
        if args.url or args.name:
            raise UserError("--url and --name say where --engine runs; name the engine too.")
        threads = args.threads or os.cpu_count() or 1
        return Searcher(args.index, encoder=args.encoder, options=options, threads=threads)
    if args.url is None:
        raise UserError(f"--engine {args.engine} needs --url, where it runs.")
    if args.algorithm != "auto" or args.recall < 1 or args.where is not None or args.encoder is not None:
        raise UserError(
            "--algorithm, --recall, --where and --encoder are this index's; leave them out with --engine."
        )
    from lsr.export import EngineSearcher

    return EngineSearcher(args.index, args.engine, args.url, collection=args.name, options=options)


def _search(searcher: Searcher, weights: sparse.csr_array, args: argparse.Namespace) -> list[Hits]:
    """Search as the options say."""
    return searcher.search_weights(
        weights, args.k, where=args.where, algorithm=args.algorithm, recall=args.recall
    )


def _answer(searcher: Searcher, query: str, args: argparse.Namespace) -> None:
    """Search one query and print the results."""
    from lsr.cli.results import result_as_dict, show_results

    start = time.perf_counter()
    weights = searcher.encode_queries([query])
    found = _search(searcher, weights, args)[0]
    milliseconds = (time.perf_counter() - start) * 1e3
    hits = searcher.hits(found)
    explanations = [searcher.explain(query, hit, weights) for hit in hits]
    costs = []
    if args.explain and args.engine is None:
        allowed = None if args.where is None else searcher.index.matching(args.where)
        options: dict[str, Any] = {"algorithm": args.algorithm, "recall": args.recall, "allowed": allowed}
        costs = searcher.index.costs(weights, args.k, **options)[0]
    if args.json:
        results = [
            result_as_dict(searcher, rank, hit, terms, explain=args.explain)
            for rank, (hit, terms) in enumerate(zip(hits, explanations, strict=True), 1)
        ]
        answer = {"query": query, "milliseconds": round(milliseconds, 3), "results": results}
        if costs:
            answer["segments"] = [cost._asdict() for cost in costs]
        print(json.dumps(answer))
        return
    from rich.console import Console

    console = Console(highlight=False)
    show_results(console, searcher, hits, explanations, explain=args.explain, where=args.where)
    if not args.quiet and hits:
        count = searcher.index.document_count
        console.print(f"{len(hits)} of {count:,} documents in {milliseconds:.1f} ms", style="dim")
        for cost in costs:
            blocks = f", {cost.blocks:,} blocks of 8 documents scored" if cost.blocks else ""
            console.print(f"{cost.algorithm}: {cost.postings:,} postings read{blocks}", style="dim")


def _prompt(searcher: Searcher, args: argparse.Namespace) -> int:
    """Answer queries until the input ends."""
    interactive = sys.stdin.isatty()
    if interactive:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  (gives input() a history)
        if not args.quiet:
            print(f"{searcher.index.document_count:,} documents. Ask away; an empty line or Ctrl-D ends.")
    while True:
        try:
            query = input("> " if interactive else "")
        except EOFError:
            return 0
        if not query.strip():
            if interactive:
                return 0
            continue
        _answer(searcher, query, args)


def _batch(searcher: Searcher, args: argparse.Namespace) -> int:
    """Search all queries of a file and write a TREC run."""
    from lsr.corpus import read_queries
    from lsr.eval.runs import RunWriter

    queries = read_queries(args.queries)
    if not queries:
        raise UserError(f"{args.queries} holds no queries.")
    start = time.perf_counter()
    weights = searcher.query_weights(queries)
    encoded = time.perf_counter()
    found = _search(searcher, weights, args)
    searched = time.perf_counter()
    with RunWriter(args.run_file) as writer:
        for query, hits in zip(queries, found, strict=True):
            writer.write(query.id, searcher.document_ids(hits.documents), hits.scores)
    facts = {
        "queries": len(queries),
        "without_results": sum(not len(hits.documents) for hits in found),
        "encode_seconds": round(encoded - start, 4),
        "search_seconds": round(searched - encoded, 4),
        "threads": searcher.threads,
        "run": str(args.run_file),
    }
    if args.json:
        print(json.dumps(facts))
    elif not args.quiet:
        print(
            f"{len(queries):,} queries encoded in {encoded - start:.2f} s and searched in {searched - encoded:.2f} s; "
            f"the run is in {args.run_file}"
        )
        if facts["without_results"]:
            print(f"  note: {facts['without_results']:,} queries have no results.")
    return 0
