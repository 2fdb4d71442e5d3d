"""One writer at a time, and what dead ones leave behind."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from lsr.index.errors import IndexBusy, IndexProblem
from lsr.index.manifest import MANIFEST, Manifest

LOCK = "lock"


def lock_index(folder: Path) -> FileLock:
    """Take the lock of the one process that may change an index.

    The operating system holds it for the process, so it is free again however the process ends; the
    file stays.

    Raises:
        IndexBusy: where another process holds it.
        IndexProblem: where the folder cannot be written.
    """
    lock = FileLock(folder / LOCK, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise IndexBusy(
            f"{folder} is being changed by another process; try again when that is done."
        ) from None
    except OSError as error:
        raise IndexProblem(f"{folder} cannot be changed ({error.strerror or error}).") from None
    return lock


def remove_unnamed(folder: Path, manifest: Manifest) -> None:
    """Remove what the manifest does not name: files of replaced segments and of writers that died.

    To be called with the lock held. Readers that have such a file open keep it, where the operating
    system allows removing an open file; elsewhere it stays for a later call.
    """
    with contextlib.suppress(OSError):
        (folder / f".{MANIFEST}.new").unlink(missing_ok=True)
    kept = {folder / file.path for file in manifest.files}
    folders = {path.parent for path in kept} | {
        folder / "segments" / entry.name for entry in manifest.segments
    }
    encoder = folder / str(manifest.encoder.get("folder", ""))
    for below in [*(folder / "segments").glob("*"), *folder.glob("encoder-*")]:
        if below in folders:
            for path in below.iterdir():
                if path not in kept and path.is_file():
                    with contextlib.suppress(OSError):
                        path.unlink()
        elif below != encoder:
            shutil.rmtree(below, ignore_errors=True)
