"""A writer in a forked process that dies, or whose disk fails, at its n-th file operation.

Counted are opening files for writing, writing arrays, renaming, removing, making folders, locking,
fsync, and every statement and commit of SQLite. Forking keeps a point at some ten milliseconds, so
that hundreds can be tried.
"""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from lsr.index import IndexProblem
from lsr.index import files as index_files

Fault = Literal["kill", "fail once", "fail from then on", "fail fsync", "fail rename"]
FAULTS: tuple[Fault, ...] = ("kill", "fail once", "fail from then on", "fail fsync", "fail rename")

_RENAMES = {"os.rename"}
_EVENTS = {"open", "os.mkdir", "os.rmdir", "os.remove", "os.truncate", "os.chmod", "fcntl.flock", *_RENAMES}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

# What the forked writer says by its exit status.
DONE, TOLD, WRONG = 0, 2, 3


class _Counter:
    """Counts operations in the forked writer and strikes at the n-th."""

    def __init__(self, folder: Path, fault: Fault, place: int) -> None:
        self._folder = str(folder)
        self._fault = fault
        self._left = place
        self._struck = False
        self.count = 0

    def install(self) -> None:
        sys.addaudithook(self._heard)
        sync = os.fsync

        def fsync(descriptor: int) -> None:
            self._operation("fsync")
            sync(descriptor)

        os.fsync = fsync
        for name in ("write", "close"):
            self._wrap_array_writer(name)
        self._wrap_sqlite()

    def _wrap_array_writer(self, name: str) -> None:
        original = getattr(index_files.ArrayWriter, name)

        def counted(writer: Any, *arguments: Any) -> Any:
            self._operation("write")
            return original(writer, *arguments)

        setattr(index_files.ArrayWriter, name, counted)

    def _wrap_sqlite(self) -> None:
        counter = self

        class Connection(sqlite3.Connection):
            def execute(self, *arguments: Any) -> Any:
                counter._operation("sqlite")
                return super().execute(*arguments)

            def executemany(self, *arguments: Any) -> Any:
                counter._operation("sqlite")
                return super().executemany(*arguments)

        connect = sqlite3.connect

        def connect_counted(database: Any, *arguments: Any, **options: Any) -> Any:
            # Stores being read are opened by URI; their statements change nothing.
            if str(database).startswith("file:"):
                return connect(database, *arguments, **options)
            return connect(database, *arguments, factory=Connection, **options)

        sqlite3.connect = connect_counted  # type: ignore[assignment]

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS:
            return
        if event == "open":
            path, mode, flags = arguments
            writing = (isinstance(mode, str) and set(mode) & set("wax+")) or (flags or 0) & _WRITING
            if not writing:
                return
        else:
            path = arguments[0]
        # Names without a folder are those that shutil.rmtree removes.
        if isinstance(path, (str, bytes, os.PathLike)):
            name = os.fsdecode(path)
            if os.path.isabs(name) and not name.startswith(self._folder):
                return
        self._operation(
            "rename" if event in _RENAMES else "write" if event in ("open", "os.mkdir") else event
        )

    def _operation(self, kind: str) -> None:
        if self._fault == "fail fsync" and kind != "fsync":
            return
        if self._fault == "fail rename" and kind != "rename":
            return
        self.count += 1
        self._left -= 1
        if self._left >= 0 or (self._struck and self._fault != "fail from then on"):
            return
        self._struck = True
        if self._fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        # A full disk lets go of what it has.
        if kind in ("os.remove", "os.rmdir", "fcntl.flock", "os.chmod"):
            self._struck = self._fault == "fail from then on"
            return
        if kind == "sqlite":
            raise sqlite3.OperationalError("database or disk is full")
        number = errno.EIO if kind == "fsync" else errno.ENOSPC
        raise OSError(number, os.strerror(number))


def strike(
    operation: Callable[[Path], None], folder: Path, fault: Fault, place: int | None
) -> tuple[int, str]:
    """Run an operation in a forked process with a fault at its operation `place`, counted from 0.

    Returns:
        The exit status (0: done, 2: one sentence told, minus a signal), and the sentence; where
        `place` is None, nothing is struck and the number of operations returned as text.
    """
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        status, told = WRONG, ""
        try:
            os.close(receive)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            counter = _Counter(folder.parent, fault, 1 << 40 if place is None else place)
            counter.install()
            operation(folder)
            status, told = DONE, str(counter.count) if place is None else ""
        except IndexProblem as problem:
            status, told = TOLD, str(problem)
        except BaseException:
            told = traceback.format_exc()
        finally:
            os.write(send, told.encode()[-60_000:])
            os._exit(status)
    os.close(send)
    with os.fdopen(receive, "rb") as stream:
        told = stream.read().decode()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), told
