"""Loses a cluster's head while it builds an index, and goes on on another cluster with --resume.

    python scripts/cluster_lose_head.py CORPUS QUERIES.jsonl REFERENCE --work WORK [--encoder NAME]

The job is `lsr index --ray ADDRESS --resume` in a process of its own. The head's control store is killed
(SIGKILL) when some runs are encoded; Ray ends the job's process about a minute later. The same command on a
new cluster takes what was done; the outcome is compared as in cluster_check.py.
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

os.environ.setdefault("RAY_DISABLE_MEMORY_MONITOR", "1")

from cluster_check import compare
from ray.cluster_utils import Cluster

from lsr.cluster.work_folder import work_folder


def cluster_of(nodes: int) -> Any:
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 100_000_000}
    )
    for _ in range(nodes):
        cluster.add_node(num_cpus=1, object_store_memory=100_000_000, wait=True)
    return cluster


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--encoder", default="bm25")
    parser.add_argument("--runs", type=int, default=1, help="encoded before the head is lost")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    target = (args.work / "sharded.index").absolute()
    shutil.rmtree(target, ignore_errors=True)
    shutil.rmtree(work_folder(target), ignore_errors=True)

    def job(address: str) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "lsr.cli.main",
            "index",
            str(args.corpus.absolute()),
            "-o",
            str(target),
        ]
        command += ["--encoder", args.encoder, "--ray", address, "--shards", "3", "--resume", "--json"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=args.work)

    cluster = cluster_of(2)
    first = job(cluster.address)
    while len(list(work_folder(target).glob("run-*.json"))) < args.runs and first.poll() is None:
        time.sleep(0.01)
    cluster.head_node.kill_gcs_server(check_alive=False)
    lost = time.monotonic()
    status = first.wait(timeout=300)
    facts = {
        "job ended with status": status,
        "seconds after the head was lost": round(time.monotonic() - lost, 1),
        "index is there": target.exists(),
        "runs kept": len(list(work_folder(target).glob("run-*.json"))),
    }
    for node in [*cluster.worker_nodes, cluster.head_node]:
        node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
    cluster = cluster_of(2)
    second = job(cluster.address)
    out, _ = second.communicate(timeout=1_800)
    report = json.loads(out)
    facts |= {
        "second job's status": second.returncode,
        "documents that were encoded already": report["resumed_documents"],
        **compare(args.reference, target, args.queries),
        "nothing left beside it": not work_folder(target).exists(),
    }
    print(json.dumps(facts, indent=1))
    cluster.shutdown()


if __name__ == "__main__":
    main()
