"""The first queries of a process are answered at once, and compiled search is loaded beside them."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
from scipy import sparse

from lsr.index.warming import WORTH_LOADING, WORTH_WAITING, Warming


def test_small_queries_do_not_wait_and_large_ones_do() -> None:
    release = threading.Event()
    loads = []

    def load() -> None:
        release.wait(10)
        loads.append(1)

    warming = Warming(load)
    assert warming.choose(1000) == "vectorised"
    assert warming._thread is None
    assert warming.choose(WORTH_LOADING) == "vectorised"  # loading begins, and this query does not wait
    assert warming.choose(1000) == "vectorised"
    assert not warming.ready
    release.set()
    assert warming.choose(WORTH_WAITING + 1) == "auto"
    assert warming.ready
    assert warming.choose(1) == "auto"
    assert loads == [1]


def test_many_threads_load_once() -> None:
    loads = []
    warming = Warming(lambda: loads.append(1))
    threads = [threading.Thread(target=warming.choose, args=(WORTH_WAITING + 1,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == [1]


def test_failing_to_load_is_told_by_the_search_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    def load() -> None:
        raise ImportError

    warming = Warming(load)
    assert warming.choose(WORTH_WAITING + 1) == "auto"


def test_a_process_goes_from_numpy_to_compiled_search(build) -> None:  # type: ignore[no-untyped-def]
    index = build(sparse.csr_array(np.ones((2000, 3), np.float32)))
    program = (
        "import sys, numpy as np; from scipy import sparse; from lsr.index import Index\n"
        "from lsr.index.warming import warming\n"
        f"index = Index({str(index.folder)!r})\n"
        "query = sparse.csr_array(np.array([[1, 0, 2.0]], np.float32))\n"
        "first = index.search(query, 5)\n"
        "assert 'numba' not in sys.modules and index.costs(query)[0][0].algorithm == 'vectorised'\n"
        "for _ in range(300): index.search(query, 5)\n"
        "warming.wait()\n"
        "assert index.costs(query)[0][0].algorithm == 'exhaustive'\n"
        "last = index.search(query, 5)\n"
        "assert last[0].documents.tolist() == first[0].documents.tolist() == [0, 1, 2, 3, 4]\n"
        "assert last[0].scores.tobytes() == first[0].scores.tobytes()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=index.folder
    )
    assert done.returncode == 0, done.stderr
