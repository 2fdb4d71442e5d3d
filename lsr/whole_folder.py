"""Folders that appear under their name only when all of them is written."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lsr.errors import UserError


@contextlib.contextmanager
def written_whole(folder: Path, purpose: str = "save the encoder in") -> Iterator[Path]:
    """Give a folder to write in, which becomes `folder` in the end, or goes if that fails.

    `folder` must not exist or be empty; otherwise, and where it cannot be written, a `UserError`,
    which asks for a folder to do what `purpose` says.
    """
    folder = folder.expanduser().absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists already; name a new folder to {purpose}.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error}); name another folder.") from None
    try:
        yield draft
        draft.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        os.replace(draft, folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error}); name another folder.") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
