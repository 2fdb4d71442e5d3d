"""The newest snapshot of an index, shared by many threads."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lsr.errors import UserError
from lsr.index import IndexProblem
from lsr.index.manifest import MANIFEST
from lsr.retrieval import Searcher

_log = logging.getLogger("lsr.serving")
# A newer snapshot that could not be opened is tried again after so many seconds.
_TRY_AGAIN = 1.0


class _Snapshot:
    """A searcher and how many threads use it."""

    def __init__(self, searcher: Searcher) -> None:
        self.searcher = searcher
        self.users = 0
        self.newest = True


class Snapshots:
    """Hands out the newest snapshot of an index; an older one is closed when its last user is done.

    A writer, of this process or another, replaces the manifest by renaming, so one look at the file's
    entry before each search (microseconds) tells whether there is a newer snapshot: what was committed
    before a search began is found by it. Where a newer one cannot be opened, the one at hand serves on
    and the failure is logged and kept in `problem`.

    Args:
        folder: the index.
        opened: opens the first snapshot.
    """

    def __init__(self, folder: Path, opened: Callable[[], Searcher]) -> None:
        self._manifest = folder / MANIFEST
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()
        self._not_before = 0.0
        self._closed = False
        self.problem: str | None = None
        # Looked at before opening: a commit in between is taken up as newer once more than needed.
        self._seen = self._state()
        self._current = _Snapshot(opened())

    def _state(self) -> tuple[int, int, int] | None:
        """Return what changes whenever the manifest is replaced; None where it is gone."""
        try:
            found = os.stat(self._manifest)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    @contextmanager
    def newest(self) -> Iterator[Searcher]:
        """Lend the newest snapshot; not to be used after the block."""
        if self._state() != self._seen and time.monotonic() >= self._not_before:
            self._refresh()
        with self._lock:
            if self._closed:
                raise RuntimeError("the index is closed")
            snapshot = self._current
            snapshot.users += 1
        try:
            yield snapshot.searcher
        finally:
            self._release(snapshot)

    def _release(self, snapshot: _Snapshot) -> None:
        with self._lock:
            snapshot.users -= 1
            unused = snapshot.users == 0 and not snapshot.newest
        if unused:
            snapshot.searcher.close()

    def _refresh(self) -> None:
        """Take up a newer snapshot; threads that come meanwhile wait, so that none searches an old one."""
        with self._refreshing:
            state = self._state()
            if state == self._seen or time.monotonic() < self._not_before:
                return
            try:
                newer = self._current.searcher.newest()
            except (IndexProblem, UserError, OSError) as error:
                self._not_before = time.monotonic() + _TRY_AGAIN
                if self.problem is None:
                    _log.error("A newer snapshot cannot be opened; the older one serves on. %s", error)
                self.problem = str(error)
                return
            self.problem = None
            self._seen = state
            if newer is self._current.searcher:
                return
            with self._lock:
                old, self._current = self._current, _Snapshot(newer)
                old.newest = False
                unused = old.users == 0
            if unused:
                old.searcher.close()

    def close(self) -> None:
        """Close the snapshot when its last user is done."""
        with self._lock:
            self._closed = True
            self._current.newest = False
            unused = self._current.users == 0
        if unused:
            self._current.searcher.close()
