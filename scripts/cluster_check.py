"""Builds a sharded index on a cluster of several Ray nodes on this machine, killing one, and compares.

    python scripts/cluster_check.py CORPUS QUERIES.jsonl REFERENCE --work WORK [--encoder default] [--kill 1]

REFERENCE is an index of the same corpus that ``lsr index`` built on one machine. Nodes are real raylets
(ray.cluster_utils.Cluster), one processor each; the head has none. A node is killed (SIGKILL) while its
workers encode. Then every document, term and statistic is compared, and for all queries the 100 best
documents, the bits of their scores and their order.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("RAY_DISABLE_MEMORY_MONITOR", "1")

from ray.cluster_utils import Cluster

from lsr.cluster import RayExecutor, build_sharded_index, planning
from lsr.cluster.work_folder import work_folder
from lsr.corpus import read_queries
from lsr.encoders.options import EncoderOptions
from lsr.index import ShardedIndex
from lsr.retrieval import Searcher


def compare(reference: Path, sharded: Path, queries: Path, k: int = 100) -> dict[str, Any]:
    """Return how many queries have the same documents, score bits and order, after comparing all else."""
    with Searcher(reference) as one, Searcher(sharded) as many:
        assert isinstance(many.index, ShardedIndex)
        a, b = one.index, many.index
        terms = np.arange(a.vocabulary_size)
        numbers = np.arange(a.number_bound)
        facts: dict[str, Any] = {
            "shards": len(b.shards),
            "documents": int(a.document_count),
            "same documents": a.documents(numbers) == b.documents(numbers),
            "same vocabulary": a.vocabulary() == b.vocabulary(),
            "same grid": a.manifest.grid == b.manifest.grid,
            "same weighting": a.manifest.weighting == b.manifest.weighting,
            "same document frequencies": bool(
                (a.document_frequencies(terms) == b.document_frequencies(terms)).all()
                and (a.text_document_frequencies(terms) == b.text_document_frequencies(terms)).all()
            ),
        }
        asked = read_queries(queries)
        x, y = one.query_weights(asked), many.query_weights(asked)
        facts["queries"] = len(asked)
        facts["same query weights"] = (x != y).nnz == 0
        same = 0
        for found, expected in zip(many.search_weights(y, k), one.search_weights(x, k), strict=True):
            same += (
                found.documents.tolist() == expected.documents.tolist()
                and found.scores.tobytes() == expected.scores.tobytes()
            )
        facts[f"same {k} documents, score bits and order"] = same
        return facts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--encoder")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--kill", type=int, default=1, help="nodes to kill while documents are encoded")
    parser.add_argument("--after", type=float, default=0.5, help="seconds of encoding before the first dies")
    parser.add_argument(
        "--batch", type=int, help="documents a batch: fewer give small corpora several pieces"
    )
    args = parser.parse_args()
    if args.batch:
        planning.BATCH_DOCUMENTS = args.batch
    args.work.mkdir(parents=True, exist_ok=True)
    target = args.work / "sharded.index"
    shutil.rmtree(target, ignore_errors=True)
    start = time.perf_counter()
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 100_000_000}
    )
    nodes = [
        cluster.add_node(num_cpus=1, object_store_memory=100_000_000, wait=True) for _ in range(args.nodes)
    ]
    print(f"{args.nodes} nodes and a head up in {time.perf_counter() - start:.1f} s", flush=True)
    killed: list[str] = []
    done = threading.Event()

    def kill() -> None:
        """Kill nodes once some workers have encoded a while."""
        folder = work_folder(target.absolute())
        while not done.is_set() and len(killed) < args.kill:
            # Chunks are there and the first run is being encoded, or some are done.
            if list(folder.glob("chunk-*.parquet")) and (folder / "workers.json").exists():
                time.sleep(args.after)
                finished = len(list(folder.glob("run-*.json")))
                node = nodes.pop()
                cluster.remove_node(node, allow_graceful=False)
                killed.append(f"{finished} runs done")
                print(
                    f"killed a node when {finished} runs were done, {time.perf_counter() - start:.1f} s",
                    flush=True,
                )
            time.sleep(0.05)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        with RayExecutor(cluster.address) as executor:
            before = time.perf_counter()
            report = build_sharded_index(
                [args.corpus],
                target,
                args.encoder,
                executor=executor,
                shards=args.shards,
                options=EncoderOptions(threads=1),
            )
            seconds = time.perf_counter() - before
            lost = executor.lost
    finally:
        done.set()
        thread.join()
        cluster.shutdown()
    facts = {
        "nodes": args.nodes,
        "killed": killed,
        "pieces done anew": lost,
        "build seconds": round(seconds, 1),
        "documents indexed": report.documents,
        **compare(args.reference, target, args.queries),
    }
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
