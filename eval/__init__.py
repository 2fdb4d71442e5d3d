"""Evaluation: data sets, systems, metrics, significance, runs and reports. Names are loaded when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lsr.eval.cache import Cache
    from lsr.eval.dataset_run import RunOptions
    from lsr.eval.datasets import Dataset, load_dataset
    from lsr.eval.evaluation import Evaluation
    from lsr.eval.evaluator import evaluate
    from lsr.eval.experiment import Experiment
    from lsr.eval.experiment_run import run_experiment
    from lsr.eval.metrics import score_rankings
    from lsr.eval.runs import RunWriter, read_run
    from lsr.eval.sparsity import measure_sparsity
    from lsr.eval.systems.specs import parse_system

_HOME = {
    "Cache": "lsr.eval.cache",
    "Dataset": "lsr.eval.datasets",
    "Evaluation": "lsr.eval.evaluation",
    "Experiment": "lsr.eval.experiment",
    "RunOptions": "lsr.eval.dataset_run",
    "RunWriter": "lsr.eval.runs",
    "evaluate": "lsr.eval.evaluator",
    "load_dataset": "lsr.eval.datasets",
    "measure_sparsity": "lsr.eval.sparsity",
    "parse_system": "lsr.eval.systems.specs",
    "read_run": "lsr.eval.runs",
    "run_experiment": "lsr.eval.experiment_run",
    "score_rankings": "lsr.eval.metrics",
}

__all__ = [
    "Cache",
    "Dataset",
    "Evaluation",
    "Experiment",
    "RunOptions",
    "RunWriter",
    "evaluate",
    "load_dataset",
    "measure_sparsity",
    "parse_system",
    "read_run",
    "run_experiment",
    "score_rankings",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'lsr.eval' has no attribute {name!r}")
