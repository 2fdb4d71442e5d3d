"""Files that appear under their name only when all of them is written."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lsr.errors import UserError


@contextmanager
def whole_file(path: Path) -> Iterator[IO[str]]:
    """Open `path` for UTF-8 text, gzipped where it ends in ``.gz``, under a temporary name beside it.

    The file takes its name when the block ends, in place of an older one; where the block fails,
    nothing is left. Raises `UserError` where it cannot be written.
    """
    if path.is_dir():
        raise UserError(f"-o {path} is a folder; name a file.")
    draft = None
    try:
        handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent or Path("."))
        os.close(handle)
        with (
            gzip.open(draft, "wt", encoding="utf-8")
            if path.suffix == ".gz"
            else open(draft, "w", encoding="utf-8") as file
        ):
            yield file
        os.chmod(draft, 0o644)
        os.replace(draft, path)
        draft = None
    except OSError as error:
        raise UserError(
            f"-o {path} cannot be written ({error.strerror or error}); name another file."
        ) from None
    finally:
        if draft is not None:
            os.unlink(draft)
