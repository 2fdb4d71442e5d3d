"""From a YAML file, a preset and ``--set`` to a checked configuration.

    preset: inference-free
    model: {backbone: distilbert-base-uncased}
    data:
      sources:
        - {path: pairs/*.jsonl.gz}
        - {corpus: notes/, pairs: inverse-cloze, weight: 0.5}
    teachers:
      - {kind: dense, model: sentence-transformers/all-MiniLM-L6-v2}
      - {kind: bm25}
    losses:
      ranking: {kl: {over: batch}}
    training: {steps: 2000, batch_size: 64, learning_rate: 5.0e-5}

What the file says wins over the preset, setting by setting; only the ranking losses and the sparsity losses
of a side replace the preset's as a whole. Paths are relative to the working directory.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from lsr.composition.reading import read_record
from lsr.errors import UserError
from lsr.training.settings import (
    DataSettings,
    DistillationSettings,
    IdfSettings,
    TeacherSettings,
    TrainConfig,
    TrainingSettings,
)

_SECTIONS = ("preset", "model", "losses", "data", "teachers", "distillation", "idf", "training")
# Replaced, not merged: adding a loss to those of the preset is rarely what is meant.
_WHOLE = {("losses", "ranking"), ("losses", "sparsity", "queries"), ("losses", "sparsity", "documents")}


def load_config(source: str | Path, changes: Sequence[str] = ()) -> tuple[TrainConfig, dict[str, Any]]:
    """Return the configuration and the plain values that it was read from, preset and changes included.

    `source`: a YAML file, or the name of a preset. `changes`: ``key=value``, the key dotted, the value YAML.
    Raises `UserError` for a mistake in any of them.
    """
    path = Path(source)
    if path.is_file():
        values = _read_yaml(path)
    else:
        from lsr.presets import list_presets

        if str(source) not in list_presets():
            raise UserError(f"{source} is neither a YAML file nor a preset ({', '.join(list_presets())}).")
        values = {"preset": str(source)}
    for change in changes:
        if change.startswith("preset="):
            values["preset"] = change.removeprefix("preset=")
    values = _with_preset(values)
    for change in changes:
        if not change.startswith("preset="):
            set_value(values, change)
    return parse_config(values), values


def parse_config(values: Mapping[str, Any]) -> TrainConfig:
    """Return the checked configuration of plain values."""
    unknown = [key for key in values if key not in _SECTIONS]
    if unknown:
        raise UserError(f"the configuration has no section {unknown[0]!r}; there are {', '.join(_SECTIONS)}.")
    if not values.get("model"):
        raise UserError("the configuration names no model; give it a preset or a model section.")
    losses = values.get("losses") or {}
    if not isinstance(losses, Mapping) or not (losses.get("ranking") or losses.get("terms")):
        raise UserError("the configuration has no ranking loss; give it a preset or losses.ranking.")
    wrong = [key for key in losses if key not in ("ranking", "sparsity", "terms")]
    if wrong:
        raise UserError(f"losses: {wrong[0]!r} is not a section; there are ranking, sparsity and terms.")
    teachers = values.get("teachers") or []
    if not isinstance(teachers, list):
        raise UserError("teachers: expected a list, each entry with a kind.")
    training = dict(values.get("training") or {})
    rates = training.pop("learning_rates", None) or {}
    if not isinstance(rates, Mapping):
        raise UserError("training.learning_rates: expected learning rates by part of a parameter's name.")
    try:
        rates = {str(name): float(rate) for name, rate in rates.items()}
    except (TypeError, ValueError):
        raise UserError(f"training.learning_rates: {rates!r} holds what is no number.") from None
    settings = read_record(TrainingSettings, training, "training")
    made = {field.name: getattr(settings, field.name) for field in fields(settings)}
    return TrainConfig(
        model=dict(values["model"]),
        losses=dict(losses),
        data=read_record(DataSettings, values.get("data") or {}, "data"),
        training=TrainingSettings(**{**made, "learning_rates": rates}),
        teachers=tuple(
            read_record(TeacherSettings, entry, f"teachers.{number}") for number, entry in enumerate(teachers)
        ),
        distillation=read_record(DistillationSettings, values.get("distillation") or {}, "distillation"),
        idf=read_record(IdfSettings, values.get("idf") or {}, "idf"),
    )


def set_value(values: dict[str, Any], change: str) -> None:
    """Carry out ``key=value`` in place; keys may be numbers of list entries, missing sections are made."""
    import yaml

    key, equals, text = change.partition("=")
    if not equals or not all(key.split(".")):
        raise UserError(f"--set {change!r} is not of the form KEY=VALUE, for example training.steps=1000.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {change!r}: the value is no YAML; quote it.") from None
    *parents, last = key.split(".")
    place: Any = values
    for name in parents:
        if isinstance(place, list):
            place = place[_entry(place, name, change)]
            continue
        if not isinstance(place.get(name), dict | list):
            # A bare weight (flops: 0.01) becomes a mapping when one of its options is set.
            scalar = place.get(name)
            place[name] = {"weight": scalar} if isinstance(scalar, int | float) else {}
        place = place[name]
    if isinstance(place, list):
        place[_entry(place, last, change)] = value
    else:
        place[last] = value
        if key == "training.steps" and value is not None:
            place.pop("epochs", None)
        if key == "training.epochs" and value is not None:
            place.pop("steps", None)


def _entry(place: list[Any], name: str, change: str) -> int:
    if not name.isdigit() or int(name) >= len(place):
        raise UserError(f"--set {change!r}: {name!r} is not one of {len(place)} entries, counted from 0.")
    return int(name)


def _with_preset(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values on top of those of the preset they name."""
    if values.get("preset") is None:
        return values
    from lsr.presets import load_preset

    preset = load_preset(str(values["preset"]))
    base = {"model": preset.model, "losses": preset.losses, "training": dict(preset.training)}
    own = values.get("training") or {}
    if isinstance(own, Mapping) and ("steps" in own or "epochs" in own):
        base["training"].pop("steps", None)
        base["training"].pop("epochs", None)
    merged: dict[str, Any] = _merged(copy.deepcopy(base), values, ())
    return merged


def _merged(base: Any, own: Any, place: tuple[str, ...]) -> Any:
    if not isinstance(base, Mapping) or not isinstance(own, Mapping) or place in _WHOLE:
        return own
    return {
        key: _merged(base[key], own[key], (*place, key))
        if key in base and key in own
        else {**base, **own}[key]
        for key in {**base, **own}
    }


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(f"{where}: is not YAML ({getattr(error, 'problem', None) or error}).") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds no sections; a configuration has {', '.join(_SECTIONS)}.")
    return values
