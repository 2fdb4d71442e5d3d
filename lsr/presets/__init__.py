"""The methods of the field, each a small YAML file of settings with its citation.

    preset = load_preset("splade-max")
    model = SparseModel.from_settings(preset.settings)

A file has the sections ``title``, ``paper`` (a list of citations with arXiv ids), ``note`` (where ours
differs), ``model`` (read by `lsr.composition.settings`), ``losses`` and ``training`` (hyper-parameters as
published, read by `lsr.training`).
"""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lsr.errors import UserError

if TYPE_CHECKING:
    from lsr.composition.settings import ModelSettings

_SECTIONS = ("title", "paper", "note", "model", "losses", "training")


@dataclass(frozen=True, slots=True)
class Preset:
    """One method: what its YAML file says."""

    name: str
    title: str
    paper: tuple[str, ...]
    note: str
    model: dict[str, Any]
    losses: dict[str, Any]
    training: dict[str, Any]

    @property
    def settings(self) -> ModelSettings:
        """The ``model`` section, checked."""
        from lsr.composition.settings import ModelSettings

        return ModelSettings.from_dict(self.model)


def list_presets() -> list[str]:
    """Return the names of all presets, sorted."""
    files = importlib.resources.files("lsr.presets").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def load_preset(name: str) -> Preset:
    """Return the preset `name`; `UserError` listing all names where there is none."""
    import yaml

    if name not in list_presets():
        raise UserError(f"there is no preset {name!r}; there are {', '.join(list_presets())}.")
    text = (importlib.resources.files("lsr.presets") / f"{name}.yaml").read_text(encoding="utf-8")
    record = yaml.safe_load(text)
    unknown = sorted(set(record) - set(_SECTIONS))
    if unknown:
        raise UserError(f"preset {name}: {unknown[0]!r} is not a section; there are {', '.join(_SECTIONS)}.")
    return Preset(
        name=name,
        title=record["title"],
        paper=tuple(record["paper"]),
        note=record.get("note", ""),
        model=record["model"],
        losses=record["losses"],
        training=record["training"],
    )
