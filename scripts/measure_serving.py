"""Throughput and latency of ``lsr serve`` under load from another process, beside the bare library.

    python scripts/measure_serving.py --work FOLDER [--rounds 3] [--seconds 4] [--workers 1 2] [--json OUT]

The load is wrk's (Debian: apt install wrk): one thread, connections kept open, each with one request at a
time, queries one after the other from a file. Two indexes are served: encoded passages (`--vectors`, see
vectors.py), queried by term weights, and a test collection (`--collection`) under `--encoder`, queried by
text. In each round the library is asked the same queries in this process, one thread, one query a call;
then the service, with each number of connections. Medians of rounds. `cpu` is processor time of the
service for a request, which busy neighbours change less than they change its time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from vectors import Vectors

import lsr
from lsr.corpus import read_queries
from lsr.encoders.external import ExternalEncoder
from lsr.index import DocumentRecord, IndexWriter
from lsr.index.warming import warming

KEY = "measuring-key-of-no-consequence"
PAGE = ["title", "snippet", "marks", "terms", "metadata"]
# wrk runs `done` once, in the end; `response` is left out, since it costs the load a good part of its speed.
LUA = """
local bodies, place = {}, 0
for line in io.lines(os.getenv("BODIES")) do bodies[#bodies + 1] = line end
local headers = {["Content-Type"] = "application/json"}
function request()
  place = place % #bodies + 1
  return wrk.format("POST", os.getenv("TARGET"), headers, bodies[place])
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('{"requests": %d, "seconds": %.4f, "p50": %.3f, "p99": %.3f, "bad": %d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def build_vectors(folder: Path, vectors: Vectors) -> None:
    """Write an index of passages that were encoded elsewhere."""
    encoder = ExternalEncoder()
    description = {"name": encoder.name, "fingerprint": encoder.fingerprint(), "settings": encoder.settings}
    done = 0
    with IndexWriter(folder, encoder=description, impact_maximum=255.0) as writer:
        encoder.save_query_side(writer.encoder_folder)
        for chunk in vectors.chunks():
            records = [
                DocumentRecord(f"d{done + i}", "", f"passage {done + i}") for i in range(chunk.shape[0])
            ]
            writer.add(chunk.astype("float32"), records)
            done += chunk.shape[0]
        writer.commit([f"t{term}" for term in range(chunk.shape[1])])


@contextmanager
def served(folders: dict[str, Path], workers: int) -> Iterator[tuple[str, Callable[[], float]]]:
    """Run the service; its address, and a function for the processor seconds it has taken."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    named = [f"{name}={folder}" for name, folder in folders.items()]
    options = ["--port", str(port), "--workers", str(workers), "--quiet", "--max-documents", "5000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lsr.cli.main", "serve", *named, *options],
        env={**os.environ, "LSR_WRITE_KEYS": KEY},
        cwd=sys.prefix,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/ready").read()
                break
            except OSError:
                time.sleep(0.1)
        yield address, lambda: processor_seconds(process.pid)
    finally:
        process.terminate()
        process.wait()


def processor_seconds(group: int) -> float:
    """Return the processor time of a process and those it started."""
    ticks = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == group:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


class Workload:
    """Queries in the form of requests, and the library's way to answer them."""

    def __init__(
        self, name: str, path: str, bodies: list[dict[str, Any]], library: list[Callable[[], object]]
    ) -> None:
        self.name = name
        self.path = path
        self.bodies = bodies
        self.library = library

    def alone(self) -> dict[str, float]:
        """Ask the library everything once, and return queries a second and times in milliseconds."""
        times = []
        for ask in self.library:
            start = time.perf_counter()
            ask()
            times.append((time.perf_counter() - start) * 1e3)
        times.sort()
        return {
            "rate": len(times) / sum(times) * 1e3,
            "p50": statistics.median(times),
            "p99": times[int(len(times) * 0.99)],
        }

    def loaded(
        self, address: str, connections: int, seconds: int, work: Path, cpu: Callable[[], float]
    ) -> dict[str, float]:
        """Ask the service for some seconds."""
        (work / "load.lua").write_text(LUA)
        bodies = work / f"{self.name.replace(' ', '-')}.jsonl"
        bodies.write_text("".join(json.dumps(body) + "\n" for body in self.bodies))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(work / "load.lua"), address]
        environment = {**os.environ, "BODIES": str(bodies), "TARGET": self.path}
        before = cpu()
        told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        found = json.loads(told.splitlines()[-1])
        return {
            "rate": found["requests"] / found["seconds"],
            "p50": found["p50"],
            "p99": found["p99"],
            "bad": found["bad"],
            "cpu": (cpu() - before) / max(1, found["requests"]) * 1e3,
        }


def text_workloads(searcher: lsr.Searcher, queries: list[str]) -> list[Workload]:
    """Return the ways a collection of texts is asked."""

    def ids(query: str) -> Callable[[], object]:
        return lambda: searcher.document_ids(
            searcher.search_weights(searcher.encode_queries([query]))[0].documents
        )

    def documents(query: str) -> Callable[[], object]:
        return lambda: searcher.search(query)

    path = "/v1/indexes/texts/search"
    return [
        Workload(
            "texts ids", path, [{"query": q, "include": []} for q in queries], [ids(q) for q in queries]
        ),
        Workload("texts documents", path, [{"query": q} for q in queries], [documents(q) for q in queries]),
        Workload(
            "texts page",
            path,
            [{"query": q, "include": PAGE} for q in queries],
            [documents(q) for q in queries],
        ),
    ]


def vector_workload(searcher: lsr.Searcher, vectors: Vectors, kind: str) -> Workload:
    """Return how encoded passages are asked: by weights of terms."""
    queries = vectors.queries(kind)
    asked = []
    for row in range(queries.shape[0]):
        low, high = queries.indptr[row], queries.indptr[row + 1]
        pairs = zip(queries.indices[low:high].tolist(), queries.data[low:high].tolist(), strict=True)
        asked.append({f"t{term}": weight for term, weight in pairs})

    def ids(vector: dict[str, float]) -> Callable[[], object]:
        return lambda: searcher.document_ids(
            searcher.search_weights(searcher.vector_queries([vector]))[0].documents
        )

    bodies = [{"vector": vector, "include": []} for vector in asked]
    return Workload(
        f"passages {kind}", "/v1/indexes/passages/search", bodies, [ids(vector) for vector in asked]
    )


@contextmanager
def writing(address: str) -> Iterator[list[float]]:
    """Replace a hundred documents again and again meanwhile; the seconds each change took."""
    rows = [{"id": f"w{n}", "text": f"a document number {n} that comes and goes"} for n in range(100)]
    content = json.dumps({"documents": rows}).encode()
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    took: list[float] = []
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            request = urllib.request.Request(
                f"{address}/v1/indexes/texts/documents", content, headers, method="PUT"
            )
            start = time.perf_counter()
            urllib.request.urlopen(request).read()
            took.append(time.perf_counter() - start)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield took
    finally:
        stop.set()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for the indexes; those there are taken"
    )
    parser.add_argument("--vectors", type=Path, default=SHARED / "vectors")
    parser.add_argument("--collection", type=Path, default=SHARED / "collections" / "scifact")
    parser.add_argument("--encoder", default="bm25")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not installed; apt install wrk.")
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    passages, texts = args.work / "passages.index", args.work / "texts.index"
    vectors = Vectors(args.vectors)
    if not passages.exists():
        build_vectors(passages, vectors)
    if not texts.exists():
        lsr.build_index([args.collection], texts, args.encoder)
    warming.wait()
    queries = [query.text for query in read_queries(args.collection / "queries.jsonl")][:1_000]
    with lsr.Searcher(texts) as text_searcher, lsr.Searcher(passages) as vector_searcher:
        workloads = [
            *(vector_workload(vector_searcher, vectors, kind) for kind in ("free", "expanded")),
            *text_workloads(text_searcher, queries),
        ]
        measured = [one for workers in args.workers for one in measure(args, workers, workloads)]
    for line in table(measured):
        print(line)
    if args.json:
        args.json.write_text(json.dumps(measured, indent=1))


def measure(args: argparse.Namespace, workers: int, workloads: list[Workload]) -> list[dict[str, Any]]:
    """Measure one number of processes; each figure with all of its rounds."""
    rows: dict[tuple[str, str], list[dict[str, float]]] = {}
    folders = {"passages": args.work / "passages.index", "texts": args.work / "texts.index"}
    with tempfile.TemporaryDirectory() as name, served(folders, workers) as (address, cpu):
        scratch = Path(name)
        for workload in workloads:
            workload.loaded(address, 8, 1, scratch, cpu)
        for _ in range(args.rounds):
            for workload in workloads:
                rows.setdefault((workload.name, "library"), []).append(workload.alone())
                for connections in args.connections:
                    found = workload.loaded(address, connections, args.seconds, scratch, cpu)
                    rows.setdefault((workload.name, f"{connections}"), []).append(found)
            with writing(address) as took:
                found = workloads[2].loaded(address, 8, args.seconds, scratch, cpu)
            rows.setdefault((workloads[2].name, "8, changes"), []).append(
                {**found, "change": statistics.median(took) * 1e3, "changes": len(took)}
            )
    return [
        {"workers": workers, "workload": workload, "how": how, "rounds": found}
        for (workload, how), found in rows.items()
    ]


def table(measured: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a table of medians."""
    yield "| workload | processes | connections | a second | p50 ms | p99 ms | cpu ms | bad |"
    yield "| --- | --: | --: | --: | --: | --: | --: | --: |"
    for row in measured:
        middle = {name: statistics.median(one[name] for one in row["rounds"]) for name in row["rounds"][0]}
        cpu = f"{middle['cpu']:.2f}" if "cpu" in middle else ""
        change = f" ({middle['change']:.0f} ms each)" if "change" in middle else ""
        yield (
            f"| {row['workload']} | {'' if row['how'] == 'library' else row['workers']} | {row['how']}{change} "
            f"| {middle['rate']:,.0f} | {middle['p50']:.2f} | {middle['p99']:.2f} | {cpu} | {middle.get('bad', 0):.0f} |"
        )


if __name__ == "__main__":
    main()
