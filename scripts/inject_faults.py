"""Try every fault there is on a small index, and say what came of it.

    python scripts/inject_faults.py                  # all of it: half an hour of one core
    python scripts/inject_faults.py --only faults    # writers killed, disks that fail
    python scripts/inject_faults.py --only damage    # bytes flipped, files cut, removed, swapped
    python scripts/inject_faults.py --step 5         # every fifth point

A writer process is killed (SIGKILL) before its n-th file operation, n running over all of them, for
every kind of change; then the same with operations that fail: one, all from one on, each fsync, each
rename, and (as root) a small tmpfs that fills up. After each point the index must be as before or as
after, a snapshot opened before must answer as before, and the next writer must go on and leave no
file behind. Then every byte of an index is flipped, and files are cut, grown, removed and swapped:
verify must tell, opening and searching must not crash.

With NUMBA_BOUNDSCHECK=1 (and NUMBA_CACHE_DIR set to an empty folder) a kernel that leaves its arrays
raises, which counts as a crash. Exits with 1 where anything is not as it must be.
"""

from __future__ import annotations

import os

os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "index"))

import corruption
import faults
import small_changes
import strikes


def inject(work: Path, step: int) -> list[str]:
    """Strike every operation with every fault; return what was wrong."""
    problems: list[str] = []
    total: Counter[str] = Counter()
    print(f"{'change':<14} {'fault':<18} {'points':>7} {'before':>7} {'after':>7} {'told':>6} {'wrong':>6}")
    for name in small_changes.OPERATIONS:
        for fault in strikes.FAULTS:
            with tempfile.TemporaryDirectory(dir=work) as folder:
                tally = faults.try_operation(name, fault, Path(folder), step=step)
            _show(name, fault, tally)
            problems += tally.problems
            total[fault] += tally.points
    print("points:", ", ".join(f"{fault} {count}" for fault, count in total.items()), "in all", total.total())
    return problems


def _show(name: str, fault: str, tally: faults.Tally) -> None:
    counts = (tally.points, tally.before, tally.after, tally.told, len(tally.problems))
    print(
        f"{name:<14} {fault:<18}", *(f"{count:>{6 + (i < 3)}}" for i, count in enumerate(counts)), flush=True
    )


def fill(work: Path, step: int) -> list[str]:
    """Do changes on a tmpfs with ever more room."""
    disk = work / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        print("a small tmpfs can't be mounted here (it takes root): left out")
        return []
    problems: list[str] = []
    try:
        for name in small_changes.OPERATIONS:
            if name == "create":
                continue
            kept = work / "kept.index"
            small_changes.copy(work / "nothing", kept)
            small_changes.create(kept, bm25=name == "refresh")
            small_changes.prepare(kept)
            tally = faults.fill_disk(name, kept, disk, work, step=step * 4096)
            _show(name, "disk fills up", tally)
            problems += tally.problems
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    return problems


def damage(work: Path, step: int) -> list[str]:
    """Flip every byte, and cut, grow, remove and swap every file; return what was wrong."""
    problems: list[str] = []
    for bm25 in (False, True):
        kind = "BM25" if bm25 else "impacts"
        folder = corruption.small_index(work / f"{kind}.index", bm25=bm25)
        flipped: Counter[str] = Counter()
        # Every byte of one index with all its bits, a sample of the rest.
        for mask, stride in ((0xFF, 7 if bm25 else 1), (0x01, 7)):
            for path in corruption.files(folder):
                places = range(0, path.stat().st_size, stride * step)
                counts, wrong = corruption.flip(folder, path, places, mask)
                flipped += counts
                problems += wrong
        print(f"{kind}: bytes flipped {flipped.total():,}: {_told(flipped)}", flush=True)
        counts, wrong = corruption.damage_files(folder, work)
        print(f"{kind}: files damaged {counts.total():,}: {_told(counts)}", flush=True)
        problems += wrong
    return problems


def _told(counts: Counter[str]) -> str:
    words = {
        "refused": "not opened",
        "told": "told when used",
        "answered": "answered (verify told all the same)",
    }
    return ", ".join(f"{count:,} {words.get(what, what)}" for what, count in counts.most_common())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=["faults", "damage"])
    parser.add_argument("--step", type=int, default=1, help="try every n-th point (default: all)")
    args = parser.parse_args()
    start = time.perf_counter()
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        if args.only != "damage":
            problems += inject(Path(folder), args.step)
            problems += fill(Path(folder), args.step)
        if args.only != "faults":
            problems += damage(Path(folder), args.step)
    for problem in problems:
        print("WRONG:", problem.replace("\\n", "\n"), file=sys.stderr)
    print(f"{len(problems)} of all were wrong; {time.perf_counter() - start:.0f} s")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
