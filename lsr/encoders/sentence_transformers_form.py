"""SparseEncoder folders of sentence-transformers, read without sentence-transformers.

Two layouts are known: Transformer + SpladePooling, one encoder for both sides, and a Router with
that pair on the document route and a SparseStaticEmbedding on the query route. Module classes have
moved between packages over the versions, so only the class name counts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsr.errors import UserError

_ACTIVATIONS = {"relu": "log1p", "log1p_relu": "double-log1p"}
_TRANSFORMERS = ("Transformer", "MLMTransformer")
_STATIC = "SparseStaticEmbedding"
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders of a SparseEncoder's parts and what its config files set."""

    backbone: Path
    static: Path | None
    settings: dict[str, Any]


def read_layout(folder: Path) -> Layout:
    """Read ``modules.json`` and the configs it leads to; `UserError` for modules not known here."""
    modules = [(_class_name(m["type"]), folder / m.get("path", "")) for m in _module_list(folder)]
    static: Path | None = None
    if [name for name, _ in modules] == ["Router"] or [name for name, _ in modules] == ["Asym"]:
        query, document = _routes(modules[0][1])
        if len(query) == 1 and query[0][0] == _STATIC:
            static = query[0][1]
        elif query != document:
            raise UserError(
                f"{folder} routes queries through {_names(query)}; a query route of one "
                "SparseStaticEmbedding is the only one known."
            )
        modules = document
    names = [name for name, _ in modules]
    if len(names) != 2 or names[0] not in _TRANSFORMERS or names[1] != "SpladePooling":
        raise UserError(
            f"{folder} is a sentence-transformers model of {_names(modules)}, not of a masked language model "
            "and SpladePooling; give a SPLADE or inference-free SparseEncoder."
        )
    backbone, pooling = modules[0][1], modules[1][1]
    settings = {**_pooling_settings(pooling), **_transformer_settings(backbone), **_model_settings(folder)}
    return Layout(backbone, static, settings)


def read_static_weights(folder: Path) -> NDArray[np.float32]:
    """Return the weights of a saved SparseStaticEmbedding, shape (its tokenizer's size,)."""
    from safetensors import SafetensorError, safe_open

    path = folder / "model.safetensors"
    if not path.is_file():
        raise UserError(f"{path} is missing; save the query weights as safetensors.")
    try:
        with safe_open(str(path), framework="numpy") as tensors:
            weight = np.asarray(tensors.get_tensor("weight"), dtype=np.float32)
    except (SafetensorError, TypeError, OSError) as error:
        raise UserError(
            f"{path} cannot be read as static query weights ({error}); save the model again."
        ) from None
    if weight.ndim != 1 or not np.isfinite(weight).all():
        raise UserError(f"{path} does not hold one finite weight for each token; save the model again.")
    return weight


def _module_list(folder: Path) -> list[dict[str, Any]]:
    path = folder / "modules.json"
    try:
        modules = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(modules, list) and all(isinstance(m["type"], str) for m in modules):
            return sorted(modules, key=lambda m: int(m.get("idx", 0)))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} cannot be read ({error!r}); save the model again.") from None
    raise UserError(f"{path} is not a list of modules; save the model again.")


def _routes(folder: Path) -> tuple[list[tuple[str, Path]], list[tuple[str, Path]]]:
    from lsr.encoders.checkpoint import read_json_object

    path = folder / "router_config.json"
    if not path.is_file():
        path = folder / "config.json"
    config = read_json_object(path)
    try:
        types, structure = config["types"], config["structure"]
        default = config.get("parameters", {}).get("default_route")
        routes = []
        for name in ("query", "document"):
            parts = structure[name] if name in structure else structure[default]
            routes.append([(_class_name(types[part]), folder / part) for part in parts])
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{path} has no query and document routes; give a Router with both.") from None
    return routes[0], routes[1]


def _pooling_settings(folder: Path) -> dict[str, Any]:
    from lsr.encoders.checkpoint import read_json_object

    config = read_json_object(folder / "config.json")
    activation = config.get("activation_function", "relu")
    if activation not in _ACTIVATIONS:
        raise UserError(
            f"{folder / 'config.json'} names the activation {activation!r}; relu and log1p_relu are known."
        )
    return {"pooling": config.get("pooling_strategy", "max"), "activation": _ACTIVATIONS[activation]}


def _transformer_settings(folder: Path) -> dict[str, Any]:
    from lsr.encoders.checkpoint import read_json_object

    path = folder / "sentence_bert_config.json"
    config = read_json_object(path) if path.is_file() else {}
    if config.get("transformer_task", "fill-mask") != "fill-mask":
        raise UserError(
            f"{path} runs the model for {config['transformer_task']!r}; a masked language model is needed."
        )
    settings: dict[str, Any] = {"lowercase": bool(config.get("do_lower_case", False))}
    longest = config.get("document_length") or config.get("max_seq_length")
    if longest:
        settings["max_length"] = longest
    if config.get("query_length"):
        settings["query_max_length"] = config["query_length"]
    return settings


def _model_settings(folder: Path) -> dict[str, Any]:
    from lsr.encoders.checkpoint import read_json_object

    path = folder / "config_sentence_transformers.json"
    config = read_json_object(path) if path.is_file() else {}
    settings: dict[str, Any] = {}
    if config.get("max_active_dims"):
        settings["max_active_dims"] = config["max_active_dims"]
    prompts = config.get("prompts") or {}
    fallback = prompts.get(config.get("default_prompt_name") or "", "")
    settings["query_prompt"] = prompts.get("query", fallback) or ""
    named = [prompts[name] for name in _DOCUMENT_PROMPTS if name in prompts]
    settings["document_prompt"] = (named[0] if named else fallback) or ""
    return settings


def _class_name(dotted: str) -> str:
    return dotted.rpartition(".")[2]


def _names(modules: Sequence[tuple[str, Path]]) -> str:
    return " + ".join(name for name, _ in modules)
