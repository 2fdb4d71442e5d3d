"""Build and time one engine, each in the process it is called in."""

from __future__ import annotations

import gc
import os
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vectors import KINDS, Vectors

from engines.base import Engine
from engines.truth import CHECKED, DEPTHS, Truth

K = 10
# Upper ends of the classes of query length.
LENGTHS = (2, 4, 8, 12, 16, 64)
# Fewer queries where all of them would take longer than this; never fewer than the least.
_ROUND_SECONDS = 4.0
_LEAST_QUERIES = 200


def measure_build(engine: Engine, vectors: Vectors, folder: Path) -> dict[str, Any]:
    """Build an index, its input read beforehand; return times and bytes."""
    if vectors.about is None:
        vectors.matrix()
    start, worked = time.perf_counter(), time.process_time()
    engine.build(vectors, folder)
    seconds, worked = time.perf_counter() - start, time.process_time() - worked
    times = {"seconds": round(seconds, 2), "processor_seconds": round(worked, 2)}
    return times | {"bytes": engine.size(folder)}


def resident() -> int:
    """Return the bytes of memory that this process holds, mapped files included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure_search(
    engine: Engine, vectors: Vectors, folder: Path, truth: Truth, rounds: int, settings: list[str] | None
) -> list[dict[str, Any]]:
    """Time every setting on every kind of query, k = 10, and count recall; return one row for each.

    A warm-up pass comes first. Settings take turns within a round, so that load from outside meets
    all of them. A query's time is its median over the rounds; where the kernel gave the processor to
    another process meanwhile, it is the processor time of this thread that counts.
    """
    chosen = {name: engine.settings[name] for name in settings or engine.settings}
    before = resident()
    begin = time.perf_counter()
    engine.open(folder, vectors.queries(KINDS[0]).shape[1])
    opened = time.perf_counter() - begin
    rows = []
    for kind in KINDS:
        queries = vectors.queries(kind)
        prepared = [engine.prepare(queries[i : i + 1]) for i in range(queries.shape[0])]
        lengths = np.diff(queries.indptr)
        found: dict[str, dict[int, list[list[int]]]] = {}
        used: dict[str, NDArray[np.int64]] = {}
        for name, setting in chosen.items():
            engine.search(prepared[0], K, setting)
            begin = time.thread_time()
            found[name] = {K: [engine.search(query, K, setting) for query in prepared[:CHECKED]]}
            each = (time.thread_time() - begin) / CHECKED
            count = int(np.clip(_ROUND_SECONDS / each, _LEAST_QUERIES, len(prepared)))
            used[name] = np.unique(np.linspace(0, len(prepared) - 1, count).astype(np.int64))
        # The last warm-up of mapped files; also what memory is read after.
        times = {name: np.zeros((rounds, len(used[name]))) for name in chosen}
        disturbed = dict.fromkeys(chosen, 0)
        gc.disable()
        for r in range(rounds):
            for name, setting in chosen.items():
                search = engine.search
                for place, i in enumerate(used[name].tolist()):
                    query = prepared[i]
                    switches, worked = _taken_away(), time.thread_time()
                    begin = time.perf_counter()
                    search(query, K, setting)
                    seconds = time.perf_counter() - begin
                    if _taken_away() != switches:
                        seconds = time.thread_time() - worked
                        disturbed[name] += 1
                    times[name][r, place] = seconds
        gc.enable()
        held = resident() - before
        for name, setting in chosen.items():
            for depth in DEPTHS[1:]:
                found[name][depth] = [engine.search(query, depth, setting) for query in prepared[:CHECKED]]
            row = {"setting": name, "kind": kind, "rounds": rounds, "queries": len(used[name])}
            row["disturbed"] = round(disturbed[name] / times[name].size, 4)
            row |= _figures(times[name], lengths[used[name]])
            row |= {
                f"recall@{depth}": round(truth.recall(kind, depth, lists), 4)
                for depth, lists in found[name].items()
            }
            rows.append(row | {"resident_bytes": held, "open_seconds": round(opened, 3)})
    return rows


def _taken_away() -> int:
    """Return how often the kernel gave this thread's processor to someone else."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


def _figures(times: NDArray[np.float64], lengths: NDArray[np.int64]) -> dict[str, Any]:
    typical = np.median(times, axis=0) * 1e3
    figures: dict[str, Any] = {"mean_ms": round(float(typical.mean()), 4)}
    figures |= _percentiles(typical)
    by_length = {}
    for low, high in zip((0, *LENGTHS[:-1]), LENGTHS, strict=True):
        within = (lengths > low) & (lengths <= high)
        if within.any():
            by_length[f"{low + 1}-{high}"] = {"queries": int(within.sum()), **_percentiles(typical[within])}
    return figures | {"by_length": by_length}


def _percentiles(times: NDArray[np.float64]) -> dict[str, float]:
    return {f"p{p}_ms": round(float(np.percentile(times, p)), 4) for p in (50, 95, 99)}
