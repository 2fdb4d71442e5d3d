"""When to leave NumPy for compiled search: loading it takes longer than many queries.

Loading Numba and its compiled code from the cache takes about half a second. A process that asks one
query is answered sooner without; one that goes on asking should not stay without, and no query of it
should have to wait. So the first queries are answered in NumPy, and once they have read enough
postings to show that more will come, compiled search is loaded in a thread beside them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

import numpy as np

# Loading takes about as long as scoring this many postings in NumPy: such a batch waits for it.
WORTH_WAITING = 20_000_000
# Postings after which loading begins beside the queries.
WORTH_LOADING = 500_000


class Warming:
    """Decides for each batch of queries, and loads compiled search once. Safe to use from several threads.

    Args:
        load: loads compiled search; may take long.
    """

    def __init__(self, load: Callable[[], None]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._read = 0
        self._thread: threading.Thread | None = None
        self.ready = False

    def choose(self, postings: int) -> Literal["auto", "vectorised"]:
        """Return how to answer queries that read this many postings."""
        if self.ready:
            return "auto"
        if postings > WORTH_WAITING:
            self.wait()
            return "auto"
        self._read += postings
        if self._read > WORTH_LOADING:
            self._start()
        return "vectorised"

    def wait(self) -> None:
        """Load compiled search, or wait until the thread has that does."""
        self._start().join()

    def _start(self) -> threading.Thread:
        with self._lock:
            if self._thread is None:
                # Not a daemon: a process that ends meanwhile waits for it rather than tearing down beneath it.
                self._thread = threading.Thread(target=self._run, name="lsr-load-kernels")
                self._thread.start()
            return self._thread

    def _run(self) -> None:
        try:
            self._load()
        finally:
            # Where loading failed, the next query meets the same error and tells it.
            self.ready = True


def load_kernels() -> None:
    """Import the kernels and call each once, on nothing, which reads its machine code from the cache."""
    from lsr.index.answering import answer
    from lsr.index.grid import ImpactGrid
    from lsr.index.postings import Postings
    from lsr.index.reading import check_queries

    grid = ImpactGrid(8, 1.0)
    arrays = {name: np.zeros(1, dtype) for name, dtype in Postings.array_types(grid).items()}
    postings = Postings(**arrays, document_count=1, grid=grid)
    query = np.zeros(2, np.int32), np.empty(0, np.int32), np.empty(0, np.float32)
    check_queries(*query)
    answer(postings, None, *query, 1)


warming = Warming(load_kernels)
