"""Evaluation end to end: a data set is indexed, searched and scored."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.eval.dataset_index import build_for, choose_folder
from lsr.eval.datasets import Dataset, load_dataset
from lsr.eval.evaluation import Evaluation
from lsr.eval.metrics import Judge, Scores, metrics_at_depth
from lsr.eval.progress import Progress, silent
from lsr.eval.runs import RunWriter

if TYPE_CHECKING:
    from lsr.encoders.base import Encoder

DEFAULT_DEPTH = 1000

# BEIR's two tasks whose queries are documents of the corpus: a query would find itself.
_QUERIES_ARE_DOCUMENTS = frozenset({"arguana", "quora"})


def evaluate(
    dataset: str | Path | Dataset,
    encoder: str | Path | Encoder | None = None,
    *,
    index: str | Path | None = None,
    options: EncoderOptions | None = None,
    k: int = DEFAULT_DEPTH,
    split: str | None = None,
    run: str | Path | None = None,
    threads: int | None = None,
    drop_query_document: bool | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Index, search and score one data set.

    `dataset` is a BEIR folder, an ir_datasets id or a `Dataset`; `split` is as in `load_dataset`.
    `index` is a folder: an index that is there is searched, with its own encoder unless `encoder`
    names one; otherwise it is built there and kept. Without `index` one is built and removed
    afterwards. `encoder` is ``bm25`` unless named, or none where the corpus holds vectors.
    Rankings have `k` documents; `run` is a file for them in TREC format. `threads` defaults to
    those of `options`, then to all cores.

    `drop_query_document` leaves the document with the query's own id out of its ranking. By
    default that is done for ArguAna and Quora alone, where queries are documents of the corpus;
    elsewhere equal ids are an accident.
    """
    if k < 1:
        raise UserError(f"The depth k of a ranking is at least 1, not {k}.")
    options = EncoderOptions() if options is None else options
    threads = threads or options.threads or os.cpu_count() or 1
    data = dataset if isinstance(dataset, Dataset) else load_dataset(dataset, split)
    if drop_query_document is None:
        drop_query_document = not _QUERIES_ARE_DOCUMENTS.isdisjoint(data.name.lower().split("/"))

    from lsr.eval.measured_search import encode_queries, measure_latency, search_and_judge
    from lsr.eval.sparsity import measure_sparsity
    from lsr.retrieval import Searcher

    report = None
    notes = data.notes
    with ExitStack() as stack:
        # Opened first: a run that cannot be written must not cost an hour of encoding.
        writer = None if run is None else stack.enter_context(RunWriter(run))
        folder = choose_folder(index, stack)
        if not folder.exists():
            report, missing = build_for(
                data, folder, encoder, options, progress, store_texts=index is not None
            )
            notes += missing
        # An index just built holds the query side of its encoder; loading that anew is not needed.
        asked = encoder if report is None else None
        searcher = stack.enter_context(Searcher(folder, encoder=asked, options=options, threads=threads))
        queries, query_encode_seconds = encode_queries(searcher, data, progress)
        judge = Judge(data.qrels)
        search_seconds = search_and_judge(
            searcher,
            data,
            queries,
            k,
            drop_query_document=drop_query_document,
            judge=judge,
            run=writer,
            progress=progress,
        )
        latency = measure_latency(searcher, queries)
        sparsity = measure_sparsity(searcher.index, queries)
        scores = judge.scores(metrics_at_depth(k))
        if report is None and _nothing_found(scores):
            notes += (f"no relevant document was found: is {folder} an index of {data.name}?",)
        return Evaluation(
            dataset=data.name,
            encoder=str(searcher.index.manifest.encoder["name"]),
            documents=searcher.index.document_count,
            queries=len(data.queries),
            k=k,
            metrics=scores.mean(),
            mean_document_terms=sparsity.mean_document_terms,
            mean_query_terms=sparsity.mean_query_terms,
            flops=sparsity.flops,
            index_bytes=searcher.index.sizes()["postings"],
            index_seconds=report.seconds if report else None,
            encode_seconds=report.encode_seconds if report else None,
            query_encode_seconds=query_encode_seconds,
            search_seconds=search_seconds,
            threads=threads,
            latency=latency,
            scores=scores,
            run=None if run is None else Path(run),
            notes=notes,
        )


def _nothing_found(scores: Scores) -> bool:
    return not any(values.any() for values in scores.values.values())
