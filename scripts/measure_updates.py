"""What an index that changes costs: search over 1, 4 and 16 segments, deletions, adds, merging.

    python scripts/measure_updates.py [--vectors FOLDER] [--documents N] [--rounds N]

Reads encoded passages and queries (`documents.npz`, `queries.npz`, `load.py`), cuts the passages into
equal segments in their order, and searches each index with every query, one at a time, k = 10, one
thread. Rounds over the indexes are interleaved, so that what else the machine does meets all of them;
the figures are medians over rounds, in processor
time, and ratios to one segment are what to compare.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from lsr.index import DocumentRecord, Index, IndexEditor, IndexWriter

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "vectors"


def load(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("vectors", folder / "load.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def records(first: int, count: int) -> list[DocumentRecord]:
    return [DocumentRecord(f"d{i}", "", f"passage {i}") for i in range(first, first + count)]


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def build(folder: Path, documents: Any, segments: int) -> list[float]:
    """Write the first segment with a build and the others with adds; return the seconds of each."""
    count = documents.shape[0]
    bounds = np.linspace(0, count, segments + 1).astype(int).tolist()
    maximum = float(documents.data.max())
    terms = [f"t{i}" for i in range(documents.shape[1])]

    def first() -> None:
        with IndexWriter(folder, encoder={"name": "measured"}, impact_maximum=maximum) as writer:
            writer.add(documents[: bounds[1]], records(0, bounds[1]))
            writer.commit(terms)

    def another(start: int, stop: int) -> None:
        with IndexEditor(folder, merge=False) as editor:
            editor.add(documents[start:stop], records(start, stop - start))
            editor.commit()

    seconds = [timed(first)]
    for start, stop in pairwise(bounds[1:]):
        seconds.append(timed(lambda start=start, stop=stop: another(start, stop)))  # type: ignore[misc]
    return seconds


def delete_some(folder: Path, share: float, count: int) -> None:
    chosen = np.random.default_rng(0).choice(count, int(share * count), replace=False)
    with IndexEditor(folder, merge=False) as editor:
        editor.delete([f"d{i}" for i in chosen.tolist()])
        editor.commit()


def search_all(index: Index, queries: list[Any], algorithm: Any) -> float:
    """Return the mean milliseconds of processor time a query: other work on the machine counts less."""
    start = time.process_time()
    for query in queries:
        index.search(query, 10, algorithm=algorithm)
    return (time.process_time() - start) / len(queries) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vectors", type=Path, default=SHARED)
    parser.add_argument("--documents", type=int, default=250_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    data = load(args.vectors)
    documents = data.documents()[: args.documents]
    count = documents.shape[0]
    kinds = {
        name: [rows[[i]] for i in range(args.queries)]
        for name, rows in (("free", data.queries("free")), ("expanded", data.queries("expanded")))
    }
    with tempfile.TemporaryDirectory() as place:
        folders: dict[str, Path] = {}
        for segments in (1, 4, 16):
            folders[f"{segments} segments"] = folder = Path(place) / f"{segments}.index"
            seconds = build(folder, documents, segments)
            if segments > 1:
                print(
                    f"{segments} segments: an add of {count // segments:,} documents {statistics.median(seconds[1:]):.2f} s"
                )
            else:
                print(f"build of {count:,} documents {seconds[0]:.2f} s")
        folders["1 segment, 10 % deleted"] = folder = Path(place) / "deleted.index"
        build(folder, documents, 1)
        print(f"deleting 10 % {timed(lambda: delete_some(folder, 0.1, count)):.2f} s")
        indexes = {name: Index(folder) for name, folder in folders.items()}
        print(f"opening 16 segments {timed(lambda: Index(folders['16 segments']).close()) * 1e3:.1f} ms")
        for algorithm in ("exhaustive", "auto"):
            for kind, queries in kinds.items():
                rounds: dict[str, list[float]] = {name: [] for name in indexes}
                for index in indexes.values():
                    search_all(index, queries, algorithm)
                for _ in range(args.rounds):
                    for name, index in indexes.items():
                        rounds[name].append(search_all(index, queries, algorithm))
                base = statistics.median(rounds["1 segments"])
                for name, times in rounds.items():
                    ratios = [a / b for a, b in zip(times, rounds["1 segments"], strict=True)]
                    print(
                        f"{algorithm:>10} {kind:>8} {name:<24} {statistics.median(times):.4f} ms "
                        f"(x{statistics.median(ratios):.2f} of {base:.4f})"
                    )
        expected = indexes["1 segments"]
        for kind, queries in kinds.items():
            for query in queries:
                hits = [
                    index.search(query, 10)[0] for name, index in indexes.items() if "deleted" not in name
                ]
                assert all(h.documents.tolist() == hits[0].documents.tolist() for h in hits), kind
                assert all(h.scores.tobytes() == hits[0].scores.tobytes() for h in hits), kind
        print(f"same documents and score bits over 1, 4 and 16 segments: {2 * args.queries} queries")
        expected.close()
        with IndexEditor(folders["16 segments"]) as editor:
            print(f"compacting 16 segments of {count:,} documents {timed(editor.compact):.2f} s")
        with IndexEditor(folders["4 segments"]) as editor:
            editor.delete([f"d{i}" for i in range(0, count, 1000)])
            print(f"a commit of {count // 1000} deletions {timed(editor.commit) * 1e3:.0f} ms")
            editor.update(documents[:1], records(0, 1))
            print(f"a commit of one update {timed(editor.commit) * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
