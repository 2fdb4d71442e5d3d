"""Evaluation: data sets, metrics, sparsity, runs and reports. Names are loaded when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lsr.eval.datasets import Dataset, load_dataset
    from lsr.eval.evaluation import Evaluation
    from lsr.eval.evaluator import evaluate
    from lsr.eval.metrics import score_rankings
    from lsr.eval.runs import RunWriter, read_run
    from lsr.eval.sparsity import measure_sparsity

_HOME = {
    "Dataset": "lsr.eval.datasets",
    "Evaluation": "lsr.eval.evaluation",
    "RunWriter": "lsr.eval.runs",
    "evaluate": "lsr.eval.evaluator",
    "load_dataset": "lsr.eval.datasets",
    "measure_sparsity": "lsr.eval.sparsity",
    "read_run": "lsr.eval.runs",
    "score_rankings": "lsr.eval.metrics",
}

__all__ = [
    "Dataset",
    "Evaluation",
    "RunWriter",
    "evaluate",
    "load_dataset",
    "measure_sparsity",
    "read_run",
    "score_rankings",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'lsr.eval' has no attribute {name!r}")
