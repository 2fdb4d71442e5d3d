"""Time exact search beside other engines: same vectors, same queries, one thread, one process an engine.

    pip install -c constraints.txt ".[peers]"
    python scripts/compare_engines.py --vectors ../shared/data/vectors

`--vectors` is a folder whose ``load.py`` has ``documents()`` (impacts 1..255) and ``queries(kind)`` for
the kinds ``free`` and ``expanded``, both returning SciPy CSR. Every engine builds its index from the
documents, answers each query on its own, in Python, and does so for several rounds; the median round
counts. Recall@10 is against float64 scores of all documents, for the first 200 queries, ties at the
tenth score allowed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
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

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

KINDS = ("free", "expanded")
K = 10
CHECKED = 200
Search = Callable[[sparse.csr_array], list[int]]


def load_vectors(folder: Path) -> Any:
    """Import the ``load.py`` of a folder of vectors."""
    spec = importlib.util.spec_from_file_location("vectors", folder / "load.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Engines: documents in; out come a function from one prepared query to ten document numbers, a
# function that prepares a query (not timed), and the index's bytes.


def lsr_engine(documents: sparse.csr_array, folder: Path, algorithm: str) -> tuple[Any, Any, int]:
    from lsr.index import DocumentRecord, Index, IndexWriter

    weights = documents.astype(np.float32)
    with IndexWriter(folder / "lsr.index", encoder={}, impact_maximum=255.0) as writer:
        for start in range(0, weights.shape[0], 2000):
            part = weights[start : start + 2000]
            writer.add(part, [DocumentRecord(str(start + i)) for i in range(part.shape[0])])
        writer.commit([str(i) for i in range(weights.shape[1])])
    index = Index(folder / "lsr.index")
    index.search(weights[:1], K, algorithm=algorithm)  # type: ignore[arg-type]
    return (
        lambda query: index.search(query, K, algorithm=algorithm)[0].documents.tolist(),  # type: ignore[arg-type]
        lambda query: query,
        index.sizes()["postings"],
    )


def sindi(documents: sparse.csr_array, folder: Path, quantised: bool) -> tuple[Any, Any, int]:
    import pyvsag

    parameters = {
        "dtype": "sparse",
        "metric_type": "ip",
        "dim": int(np.diff(documents.indptr).max()),
        "index_param": {
            "term_id_limit": documents.shape[1] + 1,
            "window_size": 50_000,
            "doc_prune_ratio": 0.0,
            "use_reorder": False,
            "use_quantization": quantised,
        },
    }
    index = pyvsag.Index("sindi", json.dumps(parameters))
    index.build(
        documents.indptr.astype(np.uint32),
        documents.indices.astype(np.uint32),
        documents.data.astype(np.float32),
        np.arange(documents.shape[0], dtype=np.int64),
    )
    index.save(str(folder / "sindi"))
    exact = json.dumps({"sindi": {"n_candidate": 10, "query_prune_ratio": 0.0, "term_prune_ratio": 0.0}})

    def prepare(query: sparse.csr_array) -> tuple[Any, ...]:
        return (
            np.array([0, query.nnz], np.uint32),
            query.indices.astype(np.uint32),
            query.data.astype(np.float32),
        )

    def search(query: tuple[Any, ...]) -> list[int]:
        ids, _ = index.knn_search(*query, K, exact)
        return list(ids[0].tolist())

    return search, prepare, (folder / "sindi").stat().st_size


def bmp_engine(documents: sparse.csr_array, folder: Path, block: int) -> tuple[Any, Any, int]:
    import bmp

    path = folder / "bmp"
    indexer = bmp.Indexer(str(path), block, True)
    for number in range(documents.shape[0]):
        part = slice(documents.indptr[number], documents.indptr[number + 1])
        terms = map(str, documents.indices[part].tolist())
        indexer.add_document(str(number), dict(zip(terms, documents.data[part].tolist(), strict=True)))
    indexer.finish()
    searcher = bmp.Searcher(str(path))

    def prepare(query: sparse.csr_array) -> dict[str, float]:
        return dict(zip(map(str, query.indices.tolist()), query.data.tolist(), strict=True))

    return (
        lambda query: [int(number) for number in searcher.search(query, K, 1.0, 1.0)[0]],
        prepare,
        path.stat().st_size,
    )


@nb.njit(nogil=True)
def _plain_loop(
    starts: Any, documents: Any, impacts: Any, terms: Any, weights: Any, scores: Any, k: Any
) -> Any:
    """The obvious Numba search: one accumulator for all documents, then an insertion-sorted list."""
    scores[:] = 0
    for j in range(len(terms)):
        for p in range(starts[terms[j]], starts[terms[j] + 1]):
            scores[documents[p]] += weights[j] * np.float32(impacts[p])
    best = np.zeros(k, np.float32)
    places = np.full(k, -1, np.int64)
    for document in range(len(scores)):
        score = scores[document]
        if score > best[k - 1]:
            p = k - 1
            while p > 0 and best[p - 1] < score:
                best[p] = best[p - 1]
                places[p] = places[p - 1]
                p -= 1
            best[p] = score
            places[p] = document
    return places


def plain_numba(documents: sparse.csr_array, folder: Path) -> tuple[Any, Any, int]:
    by_term = documents.tocsc()
    arrays = by_term.indptr.astype(np.int64), by_term.indices.astype(np.int32), by_term.data
    scores = np.zeros(documents.shape[0], np.float32)
    return (
        lambda query: _plain_loop(*arrays, query.indices, query.data, scores, K).tolist(),
        lambda query: query,
        sum(array.nbytes for array in arrays),
    )


ENGINES: dict[str, Callable[[sparse.csr_array, Path], tuple[Any, Any, int]]] = {
    "lsr, exhaustive": lambda documents, folder: lsr_engine(documents, folder, "exhaustive"),
    "pyvsag SINDI, float": lambda documents, folder: sindi(documents, folder, False),
    "pyvsag SINDI, 8 bits": lambda documents, folder: sindi(documents, folder, True),
    "bmp, block 8": lambda documents, folder: bmp_engine(documents, folder, 8),
    "bmp, block 16": lambda documents, folder: bmp_engine(documents, folder, 16),
    "bmp, block 32": lambda documents, folder: bmp_engine(documents, folder, 32),
    "plain Numba loop": plain_numba,
    "NumPy (lsr, vectorised)": lambda documents, folder: lsr_engine(documents, folder, "vectorised"),
}


def recall(found: list[list[int]], documents: sparse.csr_array, queries: sparse.csr_array) -> float:
    """Share of ten results whose float64 score reaches the tenth best."""
    shares = []
    for i, numbers in enumerate(found):
        scores = documents @ queries[[i]].toarray()[0].astype(np.float64)
        tenth = np.partition(scores, -K)[-K]
        shares.append(np.mean(scores[numbers[:K]] >= tenth * (1 - 1e-6)) if numbers else 0.0)
    return float(np.mean(shares))


def measure(name: str, vectors: Path, rounds: int, count: int | None) -> dict[str, Any]:
    """Build and time one engine in this process."""
    loaded = load_vectors(vectors)
    documents = loaded.documents()[:count]
    frequencies = np.bincount(documents.indices, minlength=documents.shape[1])
    wide = documents.astype(np.float64)
    result: dict[str, Any] = {"engine": name, "documents": documents.shape[0], "postings": documents.nnz}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        search, prepare, size = ENGINES[name](documents, Path(folder))
        result["build_seconds"] = round(time.perf_counter() - start, 2)
        result["bytes_per_posting"] = round(size / documents.nnz, 2)
        for kind in KINDS:
            queries = loaded.queries(kind)
            prepared = [prepare(queries[i : i + 1]) for i in range(queries.shape[0])]
            found = [search(query) for query in prepared[:CHECKED]]
            times = np.zeros((rounds, len(prepared)))
            for r in range(rounds):
                for i, query in enumerate(prepared):
                    begin = time.perf_counter()
                    search(query)
                    times[r, i] = time.perf_counter() - begin
            result[kind] = _figures(times, int(frequencies[queries.indices].sum()) / len(prepared))
            result[kind]["recall@10"] = round(recall(found, wide, queries), 4)
    return result


def _figures(times: NDArray[np.float64], postings: float) -> dict[str, float]:
    means = times.mean(axis=1) * 1e3
    typical = np.median(times, axis=0) * 1e3
    return {
        "ms": round(float(np.median(means)), 4),
        "p50": round(float(np.percentile(typical, 50)), 4),
        "p95": round(float(np.percentile(typical, 95)), 4),
        "p99": round(float(np.percentile(typical, 99)), 4),
        "ns_per_posting": round(float(np.median(means)) * 1e6 / postings, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vectors", type=Path, default=Path("../shared/data/vectors"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--documents", type=int, help="only the first so many documents")
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--measure", choices=list(ENGINES), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure, args.vectors, args.rounds, args.documents)))
        return
    rows = []
    for name in args.engines:
        command = [sys.executable, __file__, "--measure", name, "--vectors", str(args.vectors)]
        command += ["--rounds", str(args.rounds)]
        command += ["--documents", str(args.documents)] if args.documents else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name}: failed: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            continue
        rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
        print(json.dumps(rows[-1]), flush=True)
    _print_table(rows)


def _print_table(rows: list[dict[str, Any]]) -> None:
    print("\n| engine | free ms | p99 | ns a posting | recall@10 | expanded ms | p99 | ns a posting | recall@10 "
          "| bytes a posting | build s |\n|" + " --- |" * 11)  # fmt: skip
    for row in rows:
        cells = [row["engine"]]
        for kind in KINDS:
            cells += [f"{row[kind][key]}" for key in ("ms", "p99", "ns_per_posting", "recall@10")]
        print("| " + " | ".join([*cells, str(row["bytes_per_posting"]), str(row["build_seconds"])]) + " |")


if __name__ == "__main__":
    main()
