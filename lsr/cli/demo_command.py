"""``lsr demo``: the main job on texts that every Python installation has."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lsr.cli.options import output_options
from lsr.cli.program import program
from lsr.encoders.built_in import DEFAULT_ENCODER

if TYPE_CHECKING:
    from lsr.retrieval import Hit, Searcher, TermScore

INDEX = "python-docs.index"
QUERIES = (
    "read a csv file into dictionaries",
    "run a command in a shell and capture its output",
    "remove duplicate spaces and wrap a paragraph of text",
)
EXPANDED_QUERY = "convert colours"
"""Its best answer speaks of conversion and color, and shares no word with it."""


def add_parser(subparsers: Any) -> None:
    """Add this sub-command to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="index Python's own documentation and search it",
        description=(
            "Index the documentation of the Python installation this runs in (the docstrings of its standard "
            "library; nothing is downloaded) and answer four example queries."
        ),
        parents=[output_options()],
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="INDEX",
        default=INDEX,
        help=f"folder for the index (default: {INDEX}, where the index of an earlier demo is replaced)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Index, search, and say how to go on."""
    from lsr.cli.progress import progress
    from lsr.corpus import ReadReport
    from lsr.retrieval import Searcher, build_index

    start = time.perf_counter()
    name = program()
    talk = not (args.quiet or args.json)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if talk:
        print(f"Indexing the documentation of Python {version} with {DEFAULT_ENCODER} ...")
    read_report = ReadReport()
    with progress("Indexing", quiet=not talk, fraction=lambda: read_report.fraction) as bar:
        report = build_index(
            ["python-docs"],
            args.output,
            DEFAULT_ENCODER,
            read_report=read_report,
            overwrite=args.output == INDEX,
            progress=bar.advance,
        )
    if talk:
        print(
            f"{report.documents:,} docstrings, {report.terms_per_document:.0f} terms each, "
            f"{report.index_bytes / 1e6:.1f} MB, in {report.seconds:.1f} s.\n"
        )
    answers = []
    with Searcher(args.output) as searcher:
        for query in (*QUERIES, EXPANDED_QUERY):
            last = query == EXPANDED_QUERY
            k = 1 if last else 3
            hits = searcher.search(query, k=k)
            explanations = [searcher.explain(query, hit) for hit in hits]
            answer: dict[str, Any] = {"query": query, "ids": [hit.id for hit in hits]}
            if talk:
                _show(
                    searcher,
                    f'{name} search {args.output} "{query}" -k {k}',
                    hits,
                    explanations,
                    explain=last,
                )
            if last:
                answer["bm25"] = _found_by_words(query)
                answer["shares_a_word"] = any(term.in_document for terms in explanations for term in terms)
                if talk:
                    _tell_difference(answer)
            answers.append(answer)
    seconds = time.perf_counter() - start
    if args.json:
        print(json.dumps({"documents": report.documents, "seconds": round(seconds, 3), "answers": answers}))
    elif talk:
        print(
            f"Done in {seconds:.1f} s. Search on:\n"
            f'  {name} search {args.output} "parse a date" --explain   (why each result was found)\n'
            f"  {name} search {args.output}   (a prompt that stays open)\n"
            f"  {name} index FOLDER -o my.index   (your own texts)"
        )
    return 0


def _show(
    searcher: Searcher,
    command: str,
    hits: Sequence[Hit],
    explanations: Sequence[Sequence[TermScore]],
    *,
    explain: bool,
) -> None:
    """Print a search and its results."""
    from rich.console import Console

    from lsr.cli.results import show_results

    console = Console(highlight=False)
    console.print(f"{command}{' --explain' if explain else ''}", style="bold green", soft_wrap=True)
    show_results(console, searcher, hits, explanations, explain=explain)
    print()


def _found_by_words(query: str) -> str | None:
    """Return the title of what bm25 finds first in the same documentation."""
    from lsr.retrieval import Searcher, build_index

    with tempfile.TemporaryDirectory() as folder:
        build_index(["python-docs"], f"{folder}/index", "bm25", durable=False)
        with Searcher(f"{folder}/index") as searcher:
            hits = searcher.search(query, k=1)
    return hits[0].title or hits[0].id if hits else None


def _tell_difference(answer: dict[str, Any]) -> None:
    """Print what words alone would have found."""
    if answer["ids"] and not answer["shares_a_word"]:
        print("No word of the query stands in that text: the terms marked + are the model's.")
    print(f"With --encoder bm25, by words alone, the first result is: {answer['bm25'] or 'none'}\n")
