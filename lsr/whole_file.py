"""Files that appear under their name only when all of them is written."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from lsr.errors import UserError


@contextmanager
def whole_file(path: str | Path, called: str | None = None, *, folders: bool = False) -> Iterator[IO[str]]:
    """Open `path` for UTF-8 text, gzipped where it ends in ``.gz``, under a temporary name beside it.

    The file takes its name when the block ends, in place of an older one; where the block fails,
    nothing is left. With `folders`, those that the path lacks are made, and gone again after a failure.
    `called` is what messages call it, ``-o PATH`` unless given.
    Raises `UserError` where it cannot be written.
    """
    path = Path(path)
    called = called or f"-o {path}"
    if path.is_dir():
        raise UserError(f"{called} cannot be written: it is a folder; name a file.")
    folder = path.parent
    made: list[Path] = []
    draft = None
    try:
        if folders:
            made = [one for one in (folder, *folder.parents) if not one.exists()]
            folder.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=folder)
        os.close(handle)
        with (
            gzip.open(draft, "wt", encoding="utf-8", newline="\n")
            if path.suffix == ".gz"
            else open(draft, "w", encoding="utf-8", newline="\n") as file
        ):
            yield file
        os.chmod(draft, 0o644)
        os.replace(draft, path)
        draft = None
    except OSError as error:
        raise UserError(
            f"{called} cannot be written ({error.strerror or error}); name another file."
        ) from None
    finally:
        if draft is not None:
            os.unlink(draft)
        if not path.exists():
            with suppress(OSError):  # One that others have written to since stays.
                for one in made:
                    one.rmdir()


def check_writable(path: str | Path, called: str | None = None) -> None:
    """Raise `UserError` where `whole_file`, with `folders`, could not write a file; nothing is made."""
    path = Path(path)
    called = called or f"-o {path}"
    if path.is_dir():
        raise UserError(f"{called} cannot be written: it is a folder; name a file.")
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"{called} cannot be written: {folder} is no folder to write to; name another file.")
