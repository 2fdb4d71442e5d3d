"""Time and peak memory of ``lsr index``, and of opening and first searching what it builds.

    python scripts/measure_indexing.py CORPUS... [-- further options of lsr index]

Each step runs in a process of its own. Peak memory is the largest resident set of the process
(POSIX only). The cold search is the whole command, from starting Python to the last printed line.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LSR = [sys.executable, "-m", "lsr.cli.main"]
OPEN = """
import sys, time
import lsr.index.index
times = []
for _ in range(5):
    start = time.perf_counter()
    lsr.index.index.Index(sys.argv[1])
    times.append((time.perf_counter() - start) * 1e3)
print(f"opening: first {times[0]:.1f} ms, then {min(times[1:]):.1f} ms")
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", nargs="+")
    parser.add_argument("--query", default="how to install a package")
    args, options = parser.parse_known_args()
    options = [option for option in options if option != "--"]
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "an.index"
        start = time.perf_counter()
        done = subprocess.run(
            [*LSR, "index", *args.corpus, "-o", str(index), "--json", *options],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        seconds = time.perf_counter() - start
        report = json.loads(done.stdout)
        # Kilobytes on Linux, bytes on macOS.
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (
            1 if sys.platform == "darwin" else 1024
        )
        print(
            f"indexing: {report['documents']:,} documents in {seconds:.1f} s "
            f"({report['documents'] / seconds:,.0f} a second), peak memory {peak / 1e6:,.0f} MB, "
            f"{report['terms_per_document']:.1f} terms a document, {report['index_bytes'] / 1e6:,.1f} MB on disk"
        )
        subprocess.run([sys.executable, "-c", OPEN, str(index)], check=True)
        times = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run([*LSR, "search", str(index), args.query], check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - start)
        print(f"cold search: first {times[0]:.2f} s, median of five {sorted(times)[2]:.2f} s")


if __name__ == "__main__":
    main()
