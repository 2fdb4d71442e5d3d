"""The folder where a job on several machines keeps what is done, so that it can be gone on with.

Everything in it is written under a temporary name and renamed when it is whole. A step that was done
is known by its file; done again, it writes the same.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from lsr.errors import UserError

JOB = "job.json"
_LOCK = "lock"


def work_folder(index: Path) -> Path:
    """Return where a job keeps what is done that builds the sharded index `index`."""
    return index.parent / f".{index.name}.cluster"


class WorkFolder:
    """Opens the folder of one job; one process at a time.

    Args:
        index: the index that the job builds.
        job: JSON values that say everything that changes what the job puts out.
        resume: go on with what an interrupted run of the same job left; otherwise that is removed.

    Raises:
        UserError: where another process is at the same job, or what is there is another job's.
    """

    def __init__(self, index: Path, job: dict[str, Any], *, resume: bool) -> None:
        self.path = work_folder(index)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.path / _LOCK)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"{index} is being built by another process; wait until that is done.") from None
        except OSError as error:
            raise UserError(
                f"{index} cannot be written ({error.strerror or error}); choose another place with -o."
            ) from None
        try:
            if not resume:
                self._empty()
            self._check_job(index, json.loads(json.dumps(job)))
        except BaseException:
            self._lock.release()
            raise

    def _empty(self) -> None:
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _LOCK:
                path.unlink(missing_ok=True)

    def _check_job(self, index: Path, job: dict[str, Any]) -> None:
        try:
            earlier = json.loads((self.path / JOB).read_text(encoding="utf-8"))
        except FileNotFoundError:
            write_json(self.path / JOB, job)
            return
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.path / JOB} cannot be read ({error}); delete {self.path} to start anew."
            ) from None
        if earlier != job:
            other = [name for name in job if not isinstance(earlier, dict) or earlier.get(name) != job[name]]
            raise UserError(
                f"--resume: the interrupted job that would build {index} was another ({', '.join(other)}); give its "
                f"options and corpus again, or delete {self.path} to start anew."
            )

    def close(self, *, keep: bool) -> None:
        """Let others at it; unless `keep`, remove it."""
        if not keep:
            self._empty()
        self._lock.release()
        if not keep:
            shutil.rmtree(self.path, ignore_errors=True)


def write_whole(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Have `write` write a file that appears when it is whole, even if two processes write it at once."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write JSON values."""
    write_whole(path, lambda file: file.write(json.dumps(value).encode()))


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write arrays as an ``.npz`` file."""
    write_whole(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def read_json(path: Path) -> Any:
    """Return the JSON values of a file, None where there is none."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
