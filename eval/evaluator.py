"""Evaluation end to end of one system on one data set: indexed, searched and scored."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from lsr.encoders.built_in import DEFAULT_ENCODER
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.eval.cache import Cache
from lsr.eval.datasets import Dataset, load_dataset
from lsr.eval.evaluation import Evaluation
from lsr.eval.metrics import metrics_at_depth
from lsr.eval.progress import Progress, silent

if TYPE_CHECKING:
    from lsr.encoders.base import Encoder

DEFAULT_DEPTH = 1000


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
    cache: str | Path | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Index, search and score one data set.

    `dataset` is a BEIR folder, an ir_datasets id or a `Dataset`; `split` is as in `load_dataset`.
    `index` is a folder: an index that is there is searched, with its own encoder unless `encoder`
    names one; otherwise it is built there and kept. Without `index` one is built and removed
    afterwards, or kept in the folder `cache` and taken from there. `encoder` is ``default-tiny`` unless
    named, or none where the corpus holds vectors. Rankings have `k` documents; `run` is a file for
    them in TREC format. `threads` defaults to those of `options`, then to all cores.

    `drop_query_document` leaves the document with the query's own id out of its ranking. By
    default that is done for ArguAna and Quora alone, where queries are documents of the corpus;
    elsewhere equal ids are an accident.
    """
    if k < 1:
        raise UserError(f"The depth k of a ranking is at least 1, not {k}.")
    options = EncoderOptions() if options is None else options
    threads = threads or options.threads or os.cpu_count() or 1
    data = dataset if isinstance(dataset, Dataset) else load_dataset(dataset, split)

    from lsr.eval.dataset_run import DatasetRun, RunOptions
    from lsr.eval.systems.sparse import SparseSystem

    label = str(getattr(encoder, "name", encoder) or DEFAULT_ENCODER)
    system = SparseSystem(label, encoder, options)
    run_options = RunOptions(
        k=k,
        threads=threads,
        drop_query_document=drop_query_document,
        index=None if index is None else lambda dataset: Path(index),
        run_path=lambda dataset, label: None if run is None else Path(run),
        progress=progress,
    )
    with ExitStack() as stack:
        store = Cache(cache) if cache is not None else stack.enter_context(Cache.temporary())
        opened = stack.enter_context(DatasetRun(data, [system], store, run_options, keep=cache is not None))
        return opened.evaluate(system, metrics_at_depth(k))
