"""What evaluations keep between runs: indexes, embeddings, rankings, by what they were made from.

An entry is a folder named after a digest of everything that decides its content; what is not there
is made beside its place and moved there when it is whole. So an interrupted suite goes on where it
was, and each collection is encoded once for each encoder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from lsr.errors import UserError
from lsr.eval.datasets import file_name

_DESCRIPTION = "key.json"


def default_cache_folder() -> Path:
    """Return ``$LSR_CACHE/eval``, or ``lsr/eval`` in the user's cache folder."""
    if os.environ.get("LSR_CACHE"):
        return Path(os.environ["LSR_CACHE"]).expanduser() / "eval"
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(base) / "lsr" / "eval"


class Cache:
    """A folder of entries. Safe to use from several processes."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"The cache {self.folder} cannot be made ({error.strerror or error}); name another folder with "
                "--cache, or leave it out with --no-cache."
            ) from None

    @classmethod
    @contextmanager
    def temporary(cls) -> Iterator[Cache]:
        """Open a cache that is gone afterwards."""
        # On Windows a file that is still mapped cannot be removed; that must not spoil the figures.
        with tempfile.TemporaryDirectory(prefix="lsr-eval-", ignore_cleanup_errors=True) as folder:
            yield cls(folder)

    def path(self, kind: str, label: str, key: Mapping[str, Any]) -> Path:
        """Return the folder of an entry, there or not. `key` holds JSON values, `label` is for people."""
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]
        return self.folder / kind / f"{file_name(label)[:60]}.{digest}"

    def entry(self, kind: str, label: str, key: Mapping[str, Any], make: Callable[[Path], object]) -> Path:
        """Return the folder of an entry, made by `make` in a folder beside it where it is not there.

        `make` finds in its folder what an interrupted call of it left there, and may go on from it.
        """
        place = self.path(kind, label, key)
        if (place / _DESCRIPTION).exists():
            return place
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.parent / f".{place.name}.lock"):
            if (place / _DESCRIPTION).exists():
                return place
            draft = place.parent / f".{place.name}.part"
            draft.mkdir(exist_ok=True)
            make(draft)
            (draft / _DESCRIPTION).write_text(json.dumps(key, indent=1), encoding="utf-8")
            shutil.rmtree(place, ignore_errors=True)
            os.replace(draft, place)
        return place

    def drop(self, kind: str, label: str, key: Mapping[str, Any]) -> None:
        """Remove an entry where it is there."""
        shutil.rmtree(self.path(kind, label, key), ignore_errors=True)

    def remember(self, name: str, key: Mapping[str, Any], value: Callable[[], Any]) -> Any:
        """Return a small JSON value, computed where it is not kept yet."""
        folder = self.path(name, name, key)
        place = folder.with_name(f"{folder.name}.json")
        try:
            return json.loads(place.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            pass
        found = value()
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f".{place.name}.{os.getpid()}")
        draft.write_text(json.dumps(found), encoding="utf-8")
        os.replace(draft, place)
        return found
