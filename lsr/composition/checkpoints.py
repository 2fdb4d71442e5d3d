"""Transformers checkpoints as backbones: found, loaded, and given a head where they lack one."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lsr.composition.settings import Head
from lsr.encoders.hub import resolve_source
from lsr.errors import UserError

_log = logging.getLogger("lsr")


def find_checkpoint(source: str) -> Path:
    """Return the folder with ``config.json`` and weights that `source`, a folder or an id, leads to.

    A SparseEncoder folder leads to its transformer.
    """
    if not source:
        raise UserError("the model names no backbone; set model.backbone to a folder or a Hugging Face id.")
    folder = resolve_source(source)
    if not (folder / "config.json").is_file() and (folder / "modules.json").is_file():
        from lsr.encoders.sentence_transformers_form import read_layout

        folder = read_layout(folder).backbone
    if not (folder / "config.json").is_file():
        raise UserError(f"backbone {source}: {folder} has no config.json, so it holds no model.")
    return folder


def load_model(folder: Path, head: Head, dtype: torch.dtype) -> Any:
    """Return the transformers model in `folder` with what `head` needs on top of it.

    A masked language model's head that the checkpoint lacks (all-MiniLM-L6-v2 and other dense
    encoders were saved without) is started by `start_head`, with a warning.
    """
    from safetensors import SafetensorError

    with quiet_transformers():
        try:
            model, report = _model_class(head).from_pretrained(
                str(folder),
                config=_config(folder),
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
        except SafetensorError as error:
            raise UserError(f"{folder}: the weights are damaged ({_first_line(error)}).") from None
        except (ValueError, RuntimeError, OSError, KeyError, TypeError, ImportError) as error:
            raise UserError(
                f"{folder} cannot be loaded as a backbone for head: {head} ({_first_line(error)})."
            ) from None
    _check_complete(model, report, folder, head)
    return model


def empty_model(folder: Path, head: Head, dtype: torch.dtype) -> Any:
    """Return the architecture of ``config.json`` in `folder`, its weights still to be filled in."""
    with quiet_transformers():
        try:
            return _model_class(head).from_config(_config(folder), dtype=dtype)
        except (ValueError, RuntimeError, OSError, KeyError, TypeError, ImportError) as error:
            raise UserError(
                f"{folder}: no model can be made of its config.json ({_first_line(error)})."
            ) from None


def start_head(model: Any) -> None:
    """Start a masked language model's head where there was none.

    The transform in front of the projection becomes the identity and the projection the input
    embeddings, so that a token's logits are its final state times each token's embedding: a token
    predicts itself and its like from the first step, where a random head would predict noise.
    """
    body = {id(parameter) for parameter in model.base_model.parameters()}
    projection, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if module is projection or not own or any(id(parameter) in body for parameter in own):
            continue
        if isinstance(module, nn.Linear) and module.in_features == module.out_features:
            nn.init.eye_(module.weight)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
        if isinstance(getattr(module, "bias", None), nn.Parameter):
            nn.init.zeros_(module.bias)
    projection.weight = embeddings.weight
    # Says so to whoever builds the model again from its configuration.
    model.config.tie_word_embeddings = True
    if projection.bias is not None:
        nn.init.zeros_(projection.bias)


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' tables of missing weights off the console; ours is one sentence."""
    from transformers.utils import logging as reports

    verbosity, bars = reports.get_verbosity(), reports.is_progress_bar_enabled()
    reports.set_verbosity(50)
    reports.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        reports.set_verbosity(verbosity)
        if bars:
            reports.enable_progress_bar()  # type: ignore[no-untyped-call]


def _model_class(head: Head) -> Any:
    import transformers

    if head in ("mlm", "cls-mlm"):
        return transformers.AutoModelForMaskedLM
    return transformers.AutoModelForCausalLM if head == "causal-lm" else transformers.AutoModel


def _config(folder: Path) -> Any:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    if hasattr(config, "reference_compile"):
        # ModernBERT would compile itself, for minutes, before its first batch.
        config.reference_compile = False
    return config


def _check_complete(model: Any, report: dict[str, Any], folder: Path, head: Head) -> None:
    absent = set(report["missing_keys"]) | {str(key) for key in report.get("mismatched_keys", ())}
    absent &= {name for name, _ in model.named_parameters(remove_duplicate=False)}
    # Poolers are made for sentence pairs and not used here.
    absent = {name for name in absent if "pooler." not in name}
    if not absent:
        return
    prefix = f"{model.base_model_prefix}." if model.base_model is not model else ""
    missing_body = sorted(name for name in absent if not prefix or name.startswith(prefix))
    if missing_body or head not in ("mlm", "cls-mlm"):
        first = (missing_body or sorted(absent))[0]
        raise UserError(
            f"{folder} has no weights for {len(absent)} parameters ({first}, ...); "
            f"it is no whole checkpoint for head: {head}."
        )
    start_head(model)
    _log.warning(
        f"{folder} was saved without a masked-language-model head: its transform starts as the identity "
        "and its projection as the input embeddings"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
