"""Saving and loading models: as a SparseEncoder where that form can say it, else in a form of our own.

SPLADE, SPLADE-doc and inference-free models become folders that sentence-transformers loads too. The
others hold ``lsr_composition.json`` (the settings), ``composition.safetensors`` (all weights, adapters
folded in) and ``document/`` and ``query/`` with a backbone's ``config.json`` and tokenizer. Both hold
the settings, and nothing is pickled.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import torch

from lsr.composition.adapters import folded_state
from lsr.composition.backbone import Backbone
from lsr.composition.foreign import as_learned_encoder, learned_settings, settings_of_checkpoint
from lsr.composition.model import SparseModel
from lsr.composition.query_table import QueryTable
from lsr.composition.settings import ModelSettings
from lsr.composition.side import Side
from lsr.encoders.checkpoint import open_checkpoint, read_json_object
from lsr.encoders.hub import resolve_source
from lsr.encoders.loading import COMPOSITION_WEIGHTS
from lsr.encoders.options import EncoderOptions
from lsr.encoders.query_table import query_side
from lsr.encoders.saving import write_encoder, write_tokenizer
from lsr.encoders.tokenization import load_tokenizer
from lsr.errors import UserError
from lsr.whole_folder import written_whole

_log = logging.getLogger("lsr")
SETTINGS_FILE = "lsr_composition.json"


def save_model(model: SparseModel, folder: Path) -> None:
    """Save `model` into `folder`, which must not exist or be empty."""
    if model.needs_idf:
        _log.warning(
            "the model's IDF was never counted, so every query piece weighs 1; call fit_idf with the documents"
        )
    learned = learned_settings(model)
    with written_whole(folder) as draft:
        if learned is not None:
            write_encoder(as_learned_encoder(model, learned), draft)
        else:
            _write_own_form(model, draft)
        record = {"format": 1, "settings": _saved_settings(model).as_dict()}
        (draft / SETTINGS_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def load_model(source: str) -> SparseModel:
    """Load a model from a folder or a Hugging Face id; `UserError` where it is no sparse encoder."""
    folder = resolve_source(source)
    if (folder / COMPOSITION_WEIGHTS).is_file():
        return _load_own_form(folder)
    checkpoint = open_checkpoint(source, EncoderOptions())
    if (folder / SETTINGS_FILE).is_file():
        settings = _read_settings(folder)
    else:
        settings = settings_of_checkpoint(checkpoint)
    model = SparseModel.from_settings(settings.with_backbone(str(checkpoint.backbone)))
    table = query_side(checkpoint, load_tokenizer(checkpoint.backbone), model.vocabulary_size)
    if table is not None and isinstance(model.query, QueryTable):
        model.set_query_weights(table.table)
    return model


def _write_own_form(model: SparseModel, folder: Path) -> None:
    from safetensors.torch import save_file

    query = model.query if isinstance(model.query, Side) else None
    state = folded_state(model)
    if query is not None and query.backbone is model.document.backbone:
        state = {name: tensor for name, tensor in state.items() if not name.startswith("query.backbone.")}
    if query is not None and query.parts is model.document.parts:
        state = {name: tensor for name, tensor in state.items() if not name.startswith("query.parts.")}
    kept: dict[str, torch.Tensor] = {}
    places: set[tuple[int, torch.Size]] = set()
    for name, tensor in state.items():
        # Tied weights go by two names and are written once.
        place = (tensor.data_ptr(), tensor.shape)
        if tensor.numel() == 0 or place not in places:
            places.add(place)
            kept[name] = tensor.detach().cpu().contiguous()
    save_file(kept, folder / COMPOSITION_WEIGHTS, metadata={"format": "pt"})
    _write_backbone(model, folder, query=False)
    if query is not None and query.backbone is not model.document.backbone:
        _write_backbone(model, folder, query=True)


def _write_backbone(model: SparseModel, folder: Path, *, query: bool) -> None:
    side = model.query if query else model.document
    assert isinstance(side, Side)
    part = folder / ("query" if query else "document")
    part.mkdir()
    side.backbone.config.save_pretrained(part)
    tokenizer = load_tokenizer(side.backbone.folder)
    write_tokenizer(tokenizer, side.backbone.folder, part, side.settings.max_length)


def _load_own_form(folder: Path) -> SparseModel:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    settings = _read_settings(folder)
    path = folder / COMPOSITION_WEIGHTS
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}); save or copy the model again.") from None
    document = Backbone.empty(folder / "document", settings.document)
    query: Backbone | None = None
    if settings.query.encoder is not None and not settings.query.share_backbone:
        query = Backbone.empty(folder / "query", settings.query.encoder)
    model = SparseModel(settings, document, query)
    try:
        report = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit {folder / SETTINGS_FILE} ({error}).") from None
    own = model.state_dict(keep_vars=True)
    filled = {own[name].data_ptr() for name in state if name in own}
    absent = [name for name in report.missing_keys if own[name].data_ptr() not in filled]
    if absent or report.unexpected_keys:
        raise UserError(
            f"{path} does not fit {folder / SETTINGS_FILE} ({(absent + report.unexpected_keys)[0]}); "
            "save or copy the model again."
        )
    model.needs_idf = False
    return model


def _saved_settings(model: SparseModel) -> ModelSettings:
    """Adapters are folded into the weights, so the saved model has none."""
    settings = model.settings
    document = dataclasses.replace(settings.document, lora=None)
    query = settings.query
    if query.encoder is not None:
        query = dataclasses.replace(query, encoder=dataclasses.replace(query.encoder, lora=None))
    return dataclasses.replace(settings, document=document, query=query)


def _read_settings(folder: Path) -> ModelSettings:
    record: dict[str, Any] = read_json_object(folder / SETTINGS_FILE)
    if record.get("format") != 1:
        raise UserError(
            f"{folder / SETTINGS_FILE} is of another version of lsr; upgrade lsr, or save the model again."
        )
    return ModelSettings.from_dict(record.get("settings"))  # type: ignore[arg-type]
