"""Time search beside other engines: same vectors, same queries, one thread, one process an engine.

    pip install -c constraints.txt ".[peers,lucene]"
    python scripts/grow_corpus.py --out GROWN --documents 4000000
    python scripts/compare_engines.py --vectors ../shared/data/vectors --grown GROWN --work WORK \\
        --sizes 10000 50000 250000 1000000 4000000 --passes 3
    python scripts/report_engines.py WORK --out scripts/plots

A size is a number of documents, taken from the real vectors as long as they suffice and from the
grown ones above; ``g250000`` takes grown ones. WORK keeps the exact results, each engine's index and
``results.jsonl``, a line for each build and each timed setting; what is built is not built again, so
single engines can be measured again with --engines and --sizes (`--rebuild` times the build anew).

A build is stopped after --build-minutes of processor time or at --build-gib of memory, which is then
the result. Passes
go over all engines in turn, so that a while of load from outside meets all of them. Times are of one
query at a time, asked for from Python, after a warm-up. Recall is against float64 scores of all
documents, for the first 200 queries, ties at the k-th score allowed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
if __name__ == "__main__":
    for _name in ONE_THREAD:
        os.environ[_name] = "1"

from engines import ENGINES
from engines.measure import measure_build, measure_search
from engines.truth import Truth, write_truth
from vectors import Vectors


def corpus(size: str, real: Path, grown: Path | None) -> Vectors:
    """Return the vectors that a size stands for."""
    if size.startswith("g"):
        if grown is None:
            raise SystemExit(f"{size} needs --grown.")
        return Vectors(grown, int(size[1:]))
    return Vectors(real, int(size))


def main() -> None:
    args = _arguments()
    if args.step is not None:
        _run_step(args)
        return
    sizes = []
    for size in args.sizes:
        total = 0 if size.startswith("g") else Vectors(args.vectors).count
        sizes.append(size if size.startswith("g") or int(size) <= total else f"g{size}")
    args.work.mkdir(parents=True, exist_ok=True)
    for size in sizes:
        truth = args.work / f"truth-{size}.npz"
        if not truth.exists():
            write_truth(corpus(size, args.vectors, args.grown), truth)
        for name in args.engines:
            _build(args, size, name)
    for number in range(args.passes):
        for size in sizes:
            for name in args.engines:
                if (_folder(args.work, size, name) / "build.json").exists():
                    _call(args, size, name, "search", number)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vectors", type=Path, default=Path("../shared/data/vectors"))
    parser.add_argument("--grown", type=Path, help="a folder that grow_corpus.py wrote")
    parser.add_argument("--work", type=Path, required=True, help="indexes and results are kept here")
    parser.add_argument("--sizes", nargs="+", default=["10000", "50000", "250000"])
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--settings", nargs="+", help="only these settings of each engine")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3, help="rounds in a pass")
    parser.add_argument("--build-minutes", type=float, default=20)
    parser.add_argument("--build-gib", type=float, default=9)
    parser.add_argument("--rebuild", action="store_true")
    parser.add_argument("--note", default="", help="kept with the results, for example a version")
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def _folder(work: Path, size: str, name: str) -> Path:
    plain = "".join(letter if letter.isalnum() else "-" for letter in name)
    return work / "indexes" / size / plain


def _build(args: argparse.Namespace, size: str, name: str) -> None:
    """Build an index unless there is one, or it is known not to come about within the limits."""
    folder = _folder(args.work, size, name)
    if folder.exists() and not args.rebuild:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    stopped = _call(args, size, name, "build", 0, limited=True)
    if stopped:
        shutil.rmtree(folder)
        folder.mkdir()
        _record(args, {"engine": name, "corpus": size, "step": "build", "stopped": stopped})


def _call(
    args: argparse.Namespace, size: str, name: str, step: str, number: int, limited: bool = False
) -> str:
    """Run a step in a process of its own; return why it was stopped, or nothing."""
    command = [sys.executable, __file__, "--step", step, size, name, "--vectors", str(args.vectors)]
    command += ["--work", str(args.work), "--rounds", str(args.rounds)]
    command += ["--grown", str(args.grown)] if args.grown else []
    command += ["--settings", *args.settings] if args.settings else []
    log = args.work / "log.txt"
    with log.open("ab") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        stopped = _watch(process, args.build_minutes, args.build_gib) if limited else ""
        output = process.communicate()[0].decode()
    if stopped:
        return stopped
    if process.returncode:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        print(f"{name}, {size}, {step}: failed: {' '.join(last)}", file=sys.stderr, flush=True)
        return f"failed with status {process.returncode}"
    for line in output.splitlines():
        if line.startswith("ROW "):
            _record(args, json.loads(line[4:]) | {"pass": number})
    return ""


def _watch(process: subprocess.Popen[bytes], minutes: float, gib: float) -> str:
    """Wait for a build; kill it at a limit and return which one it was."""
    ticks = os.sysconf("SC_CLK_TCK")
    while process.poll() is None:
        time.sleep(0.2)
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            worked = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        except OSError:
            continue
        held = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0)
        stopped = ""
        if sum(map(int, worked)) > minutes * 60 * ticks:
            stopped = f"not built in {minutes:g} minutes"
        elif held > gib * 2**20:
            stopped = f"more than {gib:g} GiB of memory to build"
        if stopped:
            process.kill()
            process.wait()
            return stopped
    return ""


def _record(args: argparse.Namespace, row: dict[str, Any]) -> None:
    row |= {"time": time.strftime("%Y-%m-%d %H:%M:%S"), "load": round(os.getloadavg()[0], 2)}
    row |= {"note": args.note} if args.note else {}
    with (args.work / "results.jsonl").open("a") as results:
        results.write(json.dumps(row) + "\n")
    shown = ("setting", "kind", "mean_ms", "p99_ms", "recall@10", "recall@100", "seconds", "bytes", "stopped")
    print(row["engine"], row["corpus"], *(f"{key}={row[key]}" for key in shown if key in row), flush=True)


def _run_step(args: argparse.Namespace) -> None:
    step, size, name = args.step
    vectors = corpus(size, args.vectors, args.grown)
    engine, folder = ENGINES[name](), _folder(args.work, size, name)
    about = {"engine": name, "corpus": size, "documents": vectors.count, "step": step}
    if step == "build":
        built = measure_build(engine, vectors, folder)
        (folder / "build.json").write_text(json.dumps(built))
        rows = [built | {"postings": _postings(vectors)}]
    else:
        truth = Truth(args.work / f"truth-{size}.npz")
        known = [name for name in args.settings or engine.settings if name in engine.settings]
        rows = measure_search(engine, vectors, folder, truth, args.rounds, known)
    for row in rows:
        print("ROW " + json.dumps(about | row), flush=True)


def _postings(vectors: Vectors) -> int:
    return sum(chunk.nnz for chunk in vectors.chunks())


if __name__ == "__main__":
    main()
