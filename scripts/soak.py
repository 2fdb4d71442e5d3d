"""One process changes an index and four search it, for ten minutes: errors, memory, latencies.

    python scripts/soak.py                          # ten minutes, 20,000 documents
    python scripts/soak.py --seconds 60 --documents 5000

The writer adds batches of documents, replaces some, deletes the oldest batch, lets segments be merged
and compacts now and then; the number of documents stays the same. Readers refresh their snapshot,
search, and check what they see: every batch is there whole or not at all, two algorithms agree on
documents and score bits, filters hold, stored documents are those that scored. Times of queries are
told apart by what the writer was doing. Memory is what each process has for itself (RssAnon) and with
the pages of mapped files (VmRSS), every two seconds. Exits with 1 after an error, or where a process had
over a tenth more memory of its own in the last fifth of the run than in its second to fifth tenths.
"""

from __future__ import annotations

import os

os.environ.setdefault("NUMBA_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import multiprocessing as mp
import shutil
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from lsr.index import DocumentRecord, Index, IndexEditor, IndexWriter

VOCABULARY = 30_000
TERMS = 120
BATCH = 500
COMMON = 0  # a term that every document holds
READERS = 4
_IDLE, _CHANGING, _MERGING = 0, 1, 2
_STATES = {_IDLE: "writer idle", _CHANGING: "writer changing", _MERGING: "writer merging"}
_GROWTH = 1.1


def weights(generator: np.random.Generator, count: int) -> sparse.csr_array:
    """Return weights with terms as frequent as words are, shape (count, vocabulary)."""
    ranks = (VOCABULARY ** generator.random((count, TERMS))).astype(np.int64) % VOCABULARY
    ranks[:, 0] = COMMON
    values = generator.uniform(0.1, 3.0, ranks.shape).astype(np.float32)
    rows = np.repeat(np.arange(count), TERMS)
    matrix = sparse.coo_array((values.ravel(), (rows, ranks.ravel())), shape=(count, VOCABULARY)).tocsr()
    matrix.data = np.minimum(matrix.data, 3.0)
    return sparse.csr_array(matrix)


def records(batch: int, form: int) -> list[DocumentRecord]:
    """Return the documents of a batch."""
    return [
        DocumentRecord(
            f"{batch}-{i}",
            f"document {i}",
            f"text {i} of batch {batch} " * 20,
            {"batch": batch, "form": form},
        )
        for i in range(BATCH)
    ]


def own_memory() -> tuple[float, float]:
    """Return this process's RssAnon and VmRSS in megabytes."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return tuple(int(lines[name].split()[0]) / 1024 for name in ("RssAnon", "VmRSS"))  # type: ignore[return-value]


class Sampler:
    """Notes memory every two seconds."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float, float]] = []
        self._start = time.monotonic()

    def note(self) -> None:
        now = time.monotonic() - self._start
        if not self.samples or now - self.samples[-1][0] > 2:
            self.samples.append((now, *own_memory()))


def write(folder: Path, seconds: float, batches: int, state: Any, results: Any) -> None:
    """Change the index until the time is over."""
    from lsr.index import editor as editor_module

    merge_segments = editor_module.merge_segments

    def merge_noted(*arguments: Any, **options: Any) -> Any:
        state.value = _MERGING
        try:
            return merge_segments(*arguments, **options)
        finally:
            state.value = _CHANGING

    editor_module.merge_segments = merge_noted
    generator = np.random.default_rng(1)
    sampler = Sampler()
    times: dict[str, list[float]] = defaultdict(list)
    counts: dict[str, int] = defaultdict(int)
    oldest, newest = 0, batches
    start_of_all = time.monotonic()
    end = start_of_all + seconds
    # The first compaction comes early, so that memory is compared after all kinds of work were done.
    next_compaction = start_of_all + seconds / 20
    error = ""
    try:
        while time.monotonic() < end:
            with IndexEditor(folder) as editor:
                state.value = _CHANGING
                start = time.perf_counter()
                editor.add(weights(generator, BATCH), records(newest, 0))
                replaced = int(generator.integers(oldest + 1, newest))
                editor.update(weights(generator, BATCH), records(replaced, 1))
                editor.delete([f"{oldest}-{i}" for i in range(BATCH)])
                changes = editor.commit()
                times["change and merge" if changes.merged else "change"].append(time.perf_counter() - start)
                if changes.merge_problem:
                    raise RuntimeError(changes.merge_problem)
                counts["documents added or replaced"] += 2 * BATCH
                counts["segments merged"] += changes.merged
                counts["merges"] += bool(changes.merged)
                oldest, newest = oldest + 1, newest + 1
                if time.monotonic() > next_compaction:
                    start = time.perf_counter()
                    editor.compact()
                    times["compact"].append(time.perf_counter() - start)
                    next_compaction = time.monotonic() + max(seconds / 8, 10)
            state.value = _IDLE
            sampler.note()
            time.sleep(0.2)
    except BaseException:
        error = traceback.format_exc()
    state.value = _IDLE
    results.put(("writer", error, dict(times), dict(counts), sampler.samples))


def queries(generator: np.random.Generator) -> Iterator[sparse.csr_array]:
    """Yield queries of some frequent and some rare terms, one a row."""
    while True:
        terms = np.unique((VOCABULARY ** generator.random(12)).astype(np.int64) % VOCABULARY)
        values = generator.uniform(0.5, 2.0, len(terms)).astype(np.float32)
        yield sparse.csr_array((values, terms, [0, len(terms)]), shape=(1, VOCABULARY))


def check(index: Index, query: sparse.csr_array, generator: np.random.Generator) -> None:
    """Look at one snapshot from all sides."""
    plain = index.search(query, 20, algorithm="vectorised")[0]
    found = index.search(query, 20, algorithm="exhaustive")[0]
    assert plain.documents.tolist() == found.documents.tolist(), "two algorithms differ"
    assert plain.scores.tobytes() == found.scores.tobytes(), "two algorithms differ in scores"
    documents = index.documents(found.documents)
    for number, score, document in zip(
        found.documents.tolist(), found.scores.tolist(), documents, strict=True
    ):
        batch, i = document.id.split("-")
        assert document.text is not None
        assert document.text.startswith(f"text {i} of batch {batch} "), "a document is another"
        parts = [part.score for part in index.explain(query, number)]
        assert abs(sum(parts) - score) < 1e-3, "a score is not explained"
    every = sparse.csr_array(([np.float32(1)], [COMMON], [0, 1]), shape=(1, VOCABULARY))
    batches = {document.metadata["batch"] for document in documents}
    batch = int(generator.choice(sorted(batches)))
    hits = index.search(every, BATCH * 3, allowed=index.matching(f"batch = {batch}"))[0]
    assert len(hits.documents) == BATCH, f"a batch of {BATCH} is seen with {len(hits.documents)}"
    forms = {document.metadata["form"] for document in index.documents(hits.documents)}
    assert len(forms) == 1, "a batch is half replaced"


def read(number: int, folder: Path, seconds: float, state: Any, results: Any) -> None:
    """Search and check until the time is over."""
    generator = np.random.default_rng(100 + number)
    source = queries(generator)
    sampler = Sampler()
    times: dict[str, list[float]] = defaultdict(list)
    counts: dict[str, int] = defaultdict(int)
    error = ""
    end = time.monotonic() + seconds
    try:
        index = Index(folder)
        index.search(next(source), 10, algorithm="exhaustive")
        while time.monotonic() < end:
            start = time.perf_counter()
            newer = index.refresh()
            if newer is not index:
                times["refresh to a new snapshot"].append(time.perf_counter() - start)
                index.close()
                index = newer
                counts["snapshots"] += 1
            for _ in range(20):
                query = next(source)
                before = state.value
                start = time.perf_counter()
                index.search(query, 10, algorithm="exhaustive")
                passed = time.perf_counter() - start
                # What happened while the writer changed over is counted with the busier state.
                times[f"query, {_STATES[max(before, state.value)]}"].append(passed)
            counts["queries"] += 20
            check(index, next(source), generator)
            counts["checks"] += 1
            assert index.document_count == counts.setdefault("documents", index.document_count)
            sampler.note()
            time.sleep(0.02)
        index.close()
    except BaseException:
        error = traceback.format_exc()
    results.put((f"reader {number}", error, dict(times), dict(counts), sampler.samples))


def by_tenths(samples: list[tuple[float, float, float]]) -> list[float]:
    """Return the most own memory in each tenth of the run, in megabytes."""
    length = samples[-1][0] + 1e-9
    most = [0.0] * 10
    for at, own, _ in samples:
        place = int(at / length * 10)
        most[place] = max(most[place], own)
    return most


def show(gathered: list[tuple[str, str, dict[str, list[float]], dict[str, int], Any]]) -> bool:
    """Print figures; return whether all is well."""
    well = True
    times: dict[str, list[float]] = defaultdict(list)
    totals: dict[str, int] = defaultdict(int)
    print("memory of its own, MB, the most in each tenth of the run          resident most")
    for name, error, own_times, counts, samples in sorted(gathered):
        tenths = by_tenths(samples) if samples else [0.0]
        # Allocators keep what large merges needed; growth after that is a leak.
        grew = max(tenths[-2:]) > max(tenths[1:5], default=0.0) * _GROWTH
        resident = max((rss for _, _, rss in samples), default=0.0)
        shown = " ".join(f"{most:5.1f}" for most in tenths)
        print(f"  {name:<9} {shown} {resident:>8.1f}{'  GREW' * grew}")
        well = well and not error and not grew
        for what, values in own_times.items():
            times[what] += values
        for what, count in counts.items():
            totals[what] += count if what != "documents" else 0
        if error:
            print(f"{name} failed:\n{error}", file=sys.stderr)
    print("counts:", ", ".join(f"{what} {count:,}" for what, count in totals.items() if count))
    print("times, ms                          count     median        99%       most")
    for what in sorted(times):
        values = np.array(times[what]) * 1e3
        middle, high = np.percentile(values, [50, 99])
        print(f"  {what:<28} {len(values):>9,} {middle:>10.2f} {high:>10.2f} {values.max():>10.2f}")
    return well


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, help="where the index is made (default: a temporary folder)")
    args = parser.parse_args()
    batches = max(3, args.documents // BATCH)
    work = Path(tempfile.mkdtemp(dir=args.folder))
    folder = work / "soak.index"
    try:
        generator = np.random.default_rng(0)
        with IndexWriter(folder, encoder={"name": "soak"}, impact_maximum=3.0) as writer:
            for batch in range(batches):
                writer.add(weights(generator, BATCH), records(batch, 0))
            writer.commit([f"t{i}" for i in range(VOCABULARY)])
        context = mp.get_context("spawn")
        state, results = context.Value("i", _IDLE), context.Queue()
        processes = [context.Process(target=write, args=(folder, args.seconds, batches, state, results))]
        for number in range(READERS):
            processes.append(
                context.Process(target=read, args=(number, folder, args.seconds, state, results))
            )
        for process in processes:
            process.start()
        gathered = [results.get(timeout=args.seconds + 300) for _ in processes]
        for process in processes:
            process.join()
        well = show(gathered)
        with Index(folder) as index:
            print(f"at the end: {index.document_count:,} documents, {len(index.segments)} segments", end=", ")
            print(f"{index.verify():,} bytes verified; load average {os.getloadavg()[1]:.1f}")
        return 0 if well else 1
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
