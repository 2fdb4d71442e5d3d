"""A training run, from a configuration to a folder that `lsr.load_encoder` loads."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback, set_seed

from lsr.composition.model import SparseModel
from lsr.composition.settings import ModelSettings
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.training.calibration import start_with_terms
from lsr.training.data import Source, count_steps, documents_of, load_sources, make_batches
from lsr.training.initialisation import check_initialisation, measure_initialisation
from lsr.training.losses.registry import build_ranking_loss, build_sparsity_penalty, build_term_loss
from lsr.training.output import (
    CHECKPOINTS_FOLDER,
    TRAINING_FOLDER,
    prepare_folder,
    save_result,
    write_values,
)
from lsr.training.settings import IdfSettings, TrainConfig, TrainingSettings
from lsr.training.step import BatchStep
from lsr.training.teachers import TeacherPanel
from lsr.training.trainer import DEV_METRIC, SparseTrainer, make_arguments

_CALIBRATION_TEXTS = 128


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a run came to. `figures` are those last logged; `dev` is the best nDCG@10 on the dev collection."""

    folder: str
    steps: int
    pairs: int
    seconds: float
    figures: dict[str, float]
    dev: float | None


def train(
    config: TrainConfig,
    output: str | Path,
    *,
    resume: bool = False,
    values: dict[str, Any] | None = None,
    report: Callable[[str], None] = print,
) -> TrainReport:
    """Train an encoder into the folder `output`, its log and checkpoints into ``training/`` there.

    With `resume` the run goes on from its last checkpoint as if it had never stopped: on a CPU, bit by
    bit. `values` are written beside the log, for the record. `report` gets a line at a time.

    Started by ``torchrun``, every process calls this with the same arguments.
    """
    start = time.perf_counter()
    _quieten()
    output = Path(output)
    folder = output / TRAINING_FOLDER
    checkpoint = prepare_folder(output, folder, resume)
    settings = config.training
    dataset = _load_dev(settings)
    sources = load_sources(config.data, settings.seed)
    pairs = sum(len(source.pairs) for source in sources)
    steps = count_steps(settings, pairs)
    set_seed(settings.seed)
    arguments = make_arguments(settings, steps, folder / CHECKPOINTS_FOLDER)
    report = report if arguments.process_index == 0 else _silent
    if arguments.world_size > settings.batch_size:
        raise UserError(
            f"training.batch_size is {settings.batch_size}, fewer than {arguments.world_size} processes."
        )
    encoder = build_model(config.model)
    _fit_idf(encoder, config.idf, sources)
    panel = None
    if config.teachers:
        panel = TeacherPanel.load(
            config.teachers, config.distillation, partial(documents_of, sources), str(arguments.device)
        )
    step = BatchStep(
        encoder,
        build_ranking_loss(config.losses["ranking"]) if config.losses.get("ranking") else None,
        build_sparsity_penalty(
            config.losses.get("sparsity") or {},
            idf=_idf_of(encoder),
            vocabulary_size=encoder.vocabulary_size,
            total_steps=steps,
        ),
        terms=build_term_loss(config.losses["terms"]) if config.losses.get("terms") else None,
        teachers=panel,
        cache_chunk=settings.cache_chunk,
    )
    batches = make_batches(sources, config.data, settings, steps)
    evaluate_dev = None
    if dataset is not None:
        from lsr.training.dev import ndcg_at_10

        options = EncoderOptions(device=str(arguments.device))
        evaluate_dev = partial(ndcg_at_10, encoder, dataset, options)
    trainer = SparseTrainer(
        step,
        batches,
        settings,
        arguments,
        evaluate_dev=evaluate_dev,
        callbacks=_callbacks(settings, folder, report),
    )
    trainer.remove_callback(PrinterCallback)
    step.sparsity.to(arguments.device)
    parameters = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    report(
        f"{pairs:,} pairs of {len(sources)} sources; {steps:,} steps of {settings.batch_size} queries; "
        f"{parameters:,} parameters on {arguments.device}"
    )
    if checkpoint is None and settings.start_terms:
        start_with_terms(encoder, _sample(sources, _CALIBRATION_TEXTS), settings.start_terms)
    if checkpoint is None and settings.check_initialisation:
        sample = _sample(sources, 32)
        initial = measure_initialisation(encoder, sample)
        report(f"start: {initial}")
        check_initialisation(initial)
    if values is not None and arguments.process_index == 0:
        write_values(values, folder)
    if checkpoint is not None:
        report(f"going on from {checkpoint}")
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if arguments.process_index == 0:
        encoder.eval()
        save_result(encoder, output)
    history = trainer.state.log_history
    figures = next((entry for entry in reversed(history) if "loss" in entry), {})
    return TrainReport(
        folder=str(output),
        steps=trainer.state.global_step,
        pairs=pairs,
        seconds=time.perf_counter() - start,
        figures=dict(figures),
        dev=max((entry[DEV_METRIC] for entry in history if DEV_METRIC in entry), default=None),
    )


def build_model(values: dict[str, Any]) -> SparseModel:
    """Return the model of a ``model`` section: composed anew, or with ``load`` one that was trained before."""
    if "load" in values:
        if len(values) > 1:
            raise UserError("model: load takes an encoder as it is; leave the other settings out.")
        return SparseModel.load(str(values["load"]))
    return SparseModel.from_settings(ModelSettings.from_dict(values))


def _load_dev(settings: TrainingSettings) -> Any:
    if not settings.dev:
        return None
    from lsr.eval import load_dataset

    return load_dataset(settings.dev, settings.dev_split)


def _fit_idf(encoder: SparseModel, idf: IdfSettings, sources: Sequence[Source]) -> None:
    """Count the IDF of a query look-up where the model has none, or where another was asked for."""
    if encoder.settings.query.kind != "idf" or not (encoder.needs_idf or idf.source == "corpus"):
        return
    if idf.source == "model":
        raise UserError(
            "idf.source is model, and the model has no IDF of its own; take training or a corpus."
        )
    if idf.source == "corpus":
        from lsr.corpus import read_corpus

        texts = [document.full_text for document in islice(read_corpus([idf.corpus]), idf.documents)]
    else:
        texts = list(islice(documents_of(sources), idf.documents))
    encoder.fit_idf(texts)


def _idf_of(encoder: SparseModel) -> torch.Tensor | None:
    """Return the IDF table of an inference-free query side, for losses that weigh terms by it."""
    if encoder.settings.query.kind != "idf":
        return None
    from lsr.composition.query_table import QueryTable

    return torch.from_numpy(encoder.query.as_array()) if isinstance(encoder.query, QueryTable) else None


def _sample(sources: Sequence[Source], count: int) -> list[str]:
    """Return `count` documents, about as many of each source."""
    each = -(-count // len(sources))
    return [text for source in sources for text in islice(documents_of([source]), each)][:count]


def _callbacks(
    settings: TrainingSettings, folder: Path, report: Callable[[str], None]
) -> list[TrainerCallback]:
    from lsr.training.logs import RunLog

    callbacks: list[TrainerCallback] = [RunLog(folder, report)]
    if settings.dev:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=settings.patience))
    return callbacks


def _quieten() -> None:
    """Leave the console to the run's own lines."""
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def _silent(line: str) -> None:
    """Say nothing: the first process speaks for all."""
