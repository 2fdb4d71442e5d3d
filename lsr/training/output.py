"""The folder of a run: the encoder, and in ``training/`` its configuration, log and checkpoints."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from lsr.composition.types import TrainableEncoder
from lsr.errors import UserError

TRAINING_FOLDER = "training"
CHECKPOINTS_FOLDER = "checkpoints"
CONFIG_FILE = "config.yaml"


def prepare_folder(output: Path, folder: Path, resume: bool) -> Path | None:
    """Return the checkpoint to go on from; refuse a folder that holds something else."""
    checkpoint = _last_checkpoint(folder / CHECKPOINTS_FOLDER) if resume else None
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is a file; name a folder.")
    if int(os.environ.get("RANK", "0")) > 0:
        return checkpoint
    # Other processes may have made folders already, but no files.
    if not resume and any(path.is_file() for path in output.rglob("*")):
        raise UserError(
            f"--output {output} is not empty; name another folder, or go on with its run by --resume."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--output {output} cannot be made ({error.strerror}); name another folder."
        ) from None
    return checkpoint


def _last_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint: its state is what Trainer writes last."""
    whole = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json")]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def save_result(encoder: TrainableEncoder, output: Path) -> None:
    """Put the encoder's files into `output`, in place of those of an earlier end of the run."""
    draft = output / TRAINING_FOLDER / "result"
    shutil.rmtree(draft, ignore_errors=True)
    encoder.save(str(draft))
    for entry in draft.iterdir():
        target = output / entry.name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(entry, target)
    draft.rmdir()


def write_values(values: dict[str, Any], folder: Path) -> None:
    """Write the configuration, for the record."""
    import yaml

    text = f"# python {sys.version.split()[0]}, torch {torch.__version__}\n" + yaml.safe_dump(
        values, sort_keys=False
    )
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
