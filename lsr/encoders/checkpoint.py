"""What a folder holds: a masked language model, an OpenSearch doc model, or a SparseEncoder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsr.encoders.hub import resolve_source
from lsr.encoders.learned_settings import LearnedSettings
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError

OWN_CONFIG = "lsr_encoder.json"
IDF_FILE = "idf.json"
FACTORS_FILE = "query_factors.json"
HEAD_ROWS_FILE = "head_rows.npy"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where the parts of an encoder lie, and its settings.

    `backbone` holds config.json, the weights and the documents' tokenizer. Query weights come from
    `static` (a saved SparseStaticEmbedding) or `idf_path` (an ``idf.json``), where there is one;
    `factors_path` (a ``query_factors.json``) multiplies the IDF. A static embedding holds the products.
    """

    source: str
    folder: Path
    backbone: Path
    settings: LearnedSettings
    static: Path | None = None
    idf_path: Path | None = None
    factors_path: Path | None = None


def open_checkpoint(source: str, options: EncoderOptions) -> Checkpoint:
    """Find out what `source` is and settle its settings.

    Weakest first: the form's defaults, what the checkpoint's own files say, `options`.

    - A plain masked language model is ``splade``: max pooling, log1p, special tokens kept.
    - ``idf.json`` beside it makes it ``inference-free`` with special tokens zeroed. Such a folder
      does not say its activation. The default is ``double-log1p``, that of the newest OpenSearch
      models (doc-v3, arXiv 2504.14839); older ones (v1, v2) publish a SpladePooling config, which
      is followed, or are named with the setting ``activation=log1p``.
    - ``modules.json`` makes it a SparseEncoder, read as sentence-transformers would.
    - ``lsr_encoder.json``, which `lsr.encoders.saving.save_encoder` writes, wins over all of these.
    """
    revision = options.settings.get("revision")
    folder = resolve_source(source, None if revision is None else str(revision))
    idf_path = folder / IDF_FILE if (folder / IDF_FILE).is_file() else None
    backbone, static = folder, None
    settings = LearnedSettings()
    if (folder / "modules.json").is_file():
        from lsr.encoders.sentence_transformers_form import read_layout

        layout = read_layout(folder)
        backbone, static = layout.backbone, layout.static
        settings = settings.changed(layout.settings, str(folder))
        if idf_path is not None:
            settings = settings.changed({"special_tokens": "zero"}, str(idf_path))
    elif idf_path is not None:
        settings = settings.changed({"activation": "double-log1p", "special_tokens": "zero"}, str(idf_path))
    if static is not None or idf_path is not None:
        settings = settings.changed({"kind": "inference-free"}, str(folder))
    own = folder / OWN_CONFIG
    if own.is_file():
        settings = settings.changed(_own_settings(own), str(own))
    settings = _with_kind_asked_for(settings, options).with_options(options)
    if (
        settings.kind == "inference-free"
        and static is None
        and idf_path is None
        and settings.idf == "training"
    ):
        raise UserError(
            f"--encoder {source} has no idf.json and no static query weights for kind=inference-free; "
            "use --idf corpus, or another kind."
        )
    _check_backbone(backbone, source)
    factors_path = folder / FACTORS_FILE if (folder / FACTORS_FILE).is_file() else None
    return Checkpoint(source, folder, backbone, settings, static, idf_path, factors_path)


def _with_kind_asked_for(settings: LearnedSettings, options: EncoderOptions) -> LearnedSettings:
    """Special tokens never enter a bag of tokens, so documents need not carry them either."""
    asked = options.settings.get("kind")
    if asked in ("splade-doc", "inference-free") and settings.kind == "splade":
        return settings.changed({"kind": asked, "special_tokens": "zero"}, "--encoder-option")
    return settings


def _own_settings(path: Path) -> dict[str, Any]:
    record = read_json_object(path)
    if record.pop("format", None) != 1:
        raise UserError(f"{path} is of another version of lsr; upgrade lsr, or save the encoder again.")
    return record


def _check_backbone(backbone: Path, source: str) -> None:
    config = backbone / "config.json"
    if not config.is_file():
        raise UserError(
            f"--encoder {source}: {backbone} has no config.json, so it holds no model; "
            "give a folder saved by transformers or sentence-transformers."
        )
    if not list(backbone.glob("*.safetensors")):
        if list(backbone.glob("*.bin")):
            raise UserError(
                f"--encoder {source} has its weights as a pickle (.bin) only, which is never opened; "
                "save the model again as safetensors."
            )
        raise UserError(
            f"--encoder {source}: {backbone} has no weights (*.safetensors); download the model again."
        )


def read_head_rows(folder: Path, vocabulary: int) -> NDArray[np.int64] | None:
    """Return the terms that expansion may reach, ascending; None where `folder` does not limit them."""
    path = folder / HEAD_ROWS_FILE
    if not path.is_file():
        return None
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); pack the model again.") from None
    if (
        rows.ndim != 1
        or rows.dtype.kind not in "iu"
        or not rows.size
        or rows.min() < 0
        or rows.max() >= vocabulary
    ):
        raise UserError(f"{path} does not hold ids of the model's {vocabulary} terms; pack the model again.")
    found: NDArray[np.int64] = np.unique(rows).astype(np.int64)
    return found


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`; anything else is a `UserError` naming it."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; save or download the model again.") from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as JSON ({error}); save or download the model again."
        ) from None
    if not isinstance(value, dict):
        raise UserError(f"{path} does not hold a JSON object; save or download the model again.")
    return value
