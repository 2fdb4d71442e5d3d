"""The dev collection: how good the encoder is by now."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lsr.composition.types import TrainableEncoder
from lsr.encoders.options import EncoderOptions

if TYPE_CHECKING:
    from lsr.eval import Dataset


def ndcg_at_10(encoder: TrainableEncoder, dataset: Dataset, options: EncoderOptions) -> float:
    """Return the encoder's nDCG@10 on a data set.

    The encoder is saved, loaded, indexed and searched the way a user would, so the figure is that of
    the result, quantised impacts and all.
    """
    from lsr.encoders import load_encoder
    from lsr.eval import evaluate

    with tempfile.TemporaryDirectory(prefix="lsr-dev-", ignore_cleanup_errors=True) as folder:
        encoder.save(str(Path(folder, "model")))
        loaded = load_encoder(str(Path(folder, "model")), options)
        return float(evaluate(dataset, loaded, k=10, options=options).metrics["ndcg@10"])
