"""The models that come with the package: ``default`` and ``default-tiny``."""

from __future__ import annotations

from pathlib import Path

import lsr
from lsr.errors import UserError

BUILT_IN = ("default", "default-tiny")

DEFAULT_ENCODER = "default-tiny"
"""What is taken where no encoder is named: nearly the ranking of ``default``, in a fraction of the time."""


def models_folder() -> Path:
    """Return where the package keeps its models."""
    return Path(lsr.__file__).resolve().parent / "models"


def built_in_folder(name: str) -> Path:
    """Return the folder of the built-in model `name`, one of `BUILT_IN`.

    Raises `UserError` where this installation came without it.
    """
    folder = models_folder() / name
    if not (folder / "config.json").is_file():
        raise UserError(
            f"--encoder {name} is a model of lsr's own that this installation came without; "
            f"install lsr-search again, or give a folder (./{name} for one of that name)."
        )
    return folder
