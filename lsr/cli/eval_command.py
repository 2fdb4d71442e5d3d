"""``lsr eval``: measure systems on test collections."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsr.cli import eval_options
from lsr.cli.options import encoder_options_from
from lsr.encoders.built_in import DEFAULT_ENCODER
from lsr.errors import UserError

if TYPE_CHECKING:
    from lsr.eval import Cache, Dataset, Evaluation, Experiment
    from lsr.eval.systems.base import DerivedSystem, System

# What --from takes from a result; places to write to and speed are the new command's own.
_REPEATED = (
    "datasets", "data", "split", "limit", "drop_query_document", "encoder", "encoder_option", "idf", "max_terms",
    "long_documents", "max_length", "system", "fuse", "rerank", "baseline", "k", "metrics",
)  # fmt: skip
INTERRUPTED = 130


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``lsr eval`` to the command line."""
    eval_options.add_parser(subparsers).set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate every system on every data set; print, write and return the exit status."""
    record = _take_up(args) if args.from_result else None
    if not args.datasets:
        raise UserError("Name a data set: lsr eval DATASET...; lsr eval --help lists the suites.")
    from lsr.eval import run_experiment
    from lsr.eval.metrics import check_metrics
    from lsr.eval.suites import expand

    members = expand(args.datasets, args.data)
    _check_sources(members)
    metrics = check_metrics(args.metrics.split(","), args.k) if args.metrics else None
    systems = _systems(args)
    several = len(members) > 1 or len(systems) > 1
    if args.index and len(systems) > 1:
        raise UserError("--index is for one system; leave it out, the cache keeps each system's index.")
    for path in (args.report, args.output and args.output / "result.json"):
        _check_writable(path)
    with ExitStack() as stack:
        cache = _cache(args, stack)
        experiment = run_experiment(
            members,
            systems,
            cache=cache,
            options=_run_options(args, len(members) > 1, several),
            metrics=metrics,
            baseline=args.baseline,
            split=args.split,
            limit=args.limit,
            keep=not args.no_cache,
            settings={name: _plain(getattr(args, name)) for name in _REPEATED},
            on_result=_print_line if args.json else _nothing,
            on_failure=_tell_failure,
        )
    return _finish(args, experiment, record)


def _print_line(evaluation: Evaluation) -> None:
    """Print a result as a line of JSON."""
    print(json.dumps(evaluation.as_dict()), flush=True)


def _tell_failure(name: str, reason: str) -> None:
    """Tell at once what went wrong: a suite may go on for hours."""
    print(f"lsr: {reason}", file=sys.stderr, flush=True)


def _nothing(evaluation: Evaluation) -> None:
    """Print nothing: tables come at the end."""


def _finish(args: argparse.Namespace, experiment: Experiment, record: dict[str, Any] | None) -> int:
    """Print and write what was measured, before and after a failure alike."""
    from lsr.eval.console_report import print_experiment, report_console
    from lsr.eval.outputs import write_outputs
    from lsr.eval.published import published_for

    console = report_console()
    talk = not args.quiet and not args.json
    if experiment.datasets:
        published = published_for(experiment)
        if not args.json:
            print_experiment(experiment, console, published=published, notes=not args.quiet)
        for path in write_outputs(experiment, published, args.output, args.report):
            if talk:
                console.print(f"written: {path}", markup=False, soft_wrap=True)
    if record is not None:
        _tell_repetition(experiment, record, args.from_result, sys.stderr if args.json else sys.stdout)
    if experiment.interrupted:
        kept = "" if args.no_cache else "; what was measured is kept, and the same command goes on from there"
        print(f"lsr: interrupted{kept}.", file=sys.stderr)
        return INTERRUPTED
    failed = len(experiment.failures)
    if failed and experiment.datasets:
        print(
            f"lsr: {failed} of {failed + len(experiment.datasets)} data sets could not be evaluated, see above; "
            "tables and means are of the others.",
            file=sys.stderr,
        )
    return 2 if failed else 0


def _tell_repetition(experiment: Experiment, record: dict[str, Any], path: Path, stream: Any) -> None:
    from lsr.eval.record import compare_with_record

    repetition = compare_with_record(experiment, record)
    print(f"repeated {path}: {repetition.same} of {repetition.figures} figures are the same.", file=stream)
    for line in repetition.changed:
        print(f"  {line}", file=stream)


def _take_up(args: argparse.Namespace) -> dict[str, Any]:
    """Give the options those values that a result records."""
    from lsr.eval.record import read_record

    record = read_record(args.from_result)
    if args.datasets or args.system or args.encoder:
        raise UserError(
            "--from repeats the data sets and systems of a result; leave out those of the command."
        )
    for name in _REPEATED:
        if name in record["settings"]:
            value = record["settings"][name]
            setattr(args, name, Path(value) if name == "data" and value else value)
    args.fresh = True
    return record


def _check_sources(members: list[Any]) -> None:
    """Raise `UserError` for a data set that is misspelt, before hours of work on the others."""
    from lsr.eval.ir_datasets_source import check_id

    for member in members:
        if not Path(member.source).exists():
            check_id(member.source)


def _systems(args: argparse.Namespace) -> list[System | DerivedSystem]:
    """Return the systems that are asked for, in the order of the command line's kinds."""
    from lsr.eval.systems.sparse import SparseSystem
    from lsr.eval.systems.specs import check_labels, parse_fusion, parse_reranking, parse_system

    options = encoder_options_from(args)
    systems: list[System | DerivedSystem] = []
    if args.encoder or not args.system:
        label = _encoder_label(args.encoder, args.index)
        systems.append(SparseSystem(label, args.encoder, options))
    systems += [parse_system(spec, options) for spec in args.system]
    check_labels(systems)
    for spec in args.fuse:
        systems.append(parse_fusion(spec, systems))
    for spec in args.rerank:
        systems.append(parse_reranking(spec, systems, options))
    return systems


def _run_options(args: argparse.Namespace, several_sets: bool, several: bool) -> Any:
    from lsr.cli.progress import progress
    from lsr.eval import RunOptions

    def index(dataset: Dataset) -> Path:
        return Path(args.index / dataset.file_name if several_sets else args.index)

    def run_path(dataset: Dataset, label: str) -> Path | None:
        from lsr.eval.datasets import file_name

        if args.no_run:
            return None
        if args.run_path and not several:
            return Path(args.run_path)
        folder = args.run_path or (args.output / "runs" if args.output else Path("runs"))
        return Path(folder) / f"{dataset.file_name}.{file_name(label)}.trec"

    return RunOptions(
        k=args.k,
        threads=args.threads or os.cpu_count() or 1,
        drop_query_document=args.drop_query_document,
        fresh=args.fresh,
        index=index if args.index else None,
        run_path=run_path,
        progress=partial(progress, quiet=args.quiet),
    )


def _cache(args: argparse.Namespace, stack: ExitStack) -> Cache:
    from lsr.eval.cache import Cache, default_cache_folder

    if args.no_cache:
        return stack.enter_context(Cache.temporary())
    return Cache(args.cache or default_cache_folder())


def _encoder_label(encoder: str | None, index: Path | None) -> str:
    """Return what tables and files call an encoder."""
    if encoder is None and index is not None and (index / "manifest.json").exists():
        from lsr.index import Index

        with Index(index) as opened:
            encoder = str(opened.manifest.encoder["name"])
    encoder = encoder or DEFAULT_ENCODER
    return Path(encoder).resolve().name if Path(encoder).exists() else encoder


def _check_writable(path: Path | None) -> None:
    """Raise `UserError` where a report could not be written, before hours of work for it."""
    if path is None:
        return
    from lsr.whole_file import check_writable

    check_writable(path, f"The report {path}")


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
