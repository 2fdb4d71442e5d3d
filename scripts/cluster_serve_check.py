"""Serves a sharded index with Ray Serve on several nodes of this machine, kills nodes, checks every answer.

    python scripts/cluster_serve_check.py SHARDED REFERENCE QUERIES.jsonl [--replicas 2] [--seconds 30]

Nodes are real raylets (ray.cluster_utils.Cluster); the head holds controller and HTTP proxy, the others
the replicas. Clients ask over HTTP all the while; a node with replicas of shards is killed (SIGKILL)
after a while. Each answer is compared with REFERENCE, an index of the same corpus in one piece: ids,
scores and order, of all shards, or of those that the answer does not name as missing.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

os.environ.setdefault("RAY_DISABLE_MEMORY_MONITOR", "1")

import ray
from ray.cluster_utils import Cluster

from lsr.cluster.connection import connect
from lsr.cluster.ray_serving import ClusterJob, serving_on_cluster, shard_deployment_name
from lsr.corpus import read_queries
from lsr.encoders.options import EncoderOptions
from lsr.index import ShardedIndex, open_index
from lsr.retrieval import Searcher
from lsr.serving.settings import Settings

K = 10
PORT = 8177
NAME = "papers"


class Expected:
    """What answers must hold: of one index, with any shards left out."""

    def __init__(self, reference: Path, sharded: Path, queries: list[Any]) -> None:
        self.searcher = Searcher(reference)
        with open_index(sharded) as index:
            assert isinstance(index, ShardedIndex)
            self.bases, self.count = index.shard_bases, len(index.shards)
        weights = self.searcher.query_weights(queries)
        self.found = self.searcher.search_weights(weights, self.searcher.index.document_count)
        self.ids = [self.searcher.document_ids(hits.documents) for hits in self.found]

    def of(self, query: int, missing: set[int]) -> list[tuple[str, float]]:
        hits = self.found[query]
        kept = []
        for id_, number, score in zip(
            self.ids[query], hits.documents.tolist(), hits.scores.tolist(), strict=True
        ):
            if not any(self.bases[shard] <= number < self.bases[shard + 1] for shard in missing):
                kept.append((id_, score))
            if len(kept) == K:
                break
        return kept


class Clients:
    """Ask one query after the other and keep what came of each, with its time."""

    def __init__(self, queries: list[Any], expected: Expected, count: int) -> None:
        self.queries, self.expected = queries, expected
        self.seen: list[tuple[float, str, float]] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self, number: int) -> None:
        while not self._stop.is_set():
            number = (number + 1) % len(self.queries)
            start = time.monotonic()
            url = (
                f"http://127.0.0.1:{PORT}/v1/indexes/{NAME}/search?k={K}&q={quote(self.queries[number].text)}"
            )
            try:
                with urlopen(url, timeout=30) as reply:
                    answer = json.loads(reply.read())
                missing = {int(name.split()[-1]) for name in answer["missing_shards"]}
                found = [(result["id"], result["score"]) for result in answer["results"]]
                right = found == self.expected.of(number, missing)
                kind = ("complete" if not missing else "partial") if right else "wrong"
            except HTTPError as error:
                kind = f"HTTP {error.code}"
            except OSError as error:
                kind = f"no answer ({type(error).__name__})"
            self.seen.append((start, kind, time.monotonic() - start))

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def counts(self, since: float, until: float = float("inf")) -> dict[str, Any]:
        part = [(kind, seconds) for start, kind, seconds in self.seen if since <= start < until]
        times = sorted(seconds for _, seconds in part)
        return {
            "answers": dict(Counter(kind for kind, _ in part)),
            "median ms": round(1e3 * times[len(times) // 2], 1) if times else None,
            "longest ms": round(1e3 * times[-1], 1) if times else None,
        }


def nodes_of(index: str, shard: int) -> set[str]:
    """Return the nodes that hold a replica of a shard."""
    # The public listing of actors needs Ray's dashboard.
    import ray._private.state

    name = shard_deployment_name(index, shard)
    return {
        str(actor["Address"]["NodeID"])
        for actor in ray._private.state.actors().values()
        if actor["State"] == "ALIVE" and f"#{name}#" in (actor.get("Name") or "")
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sharded", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0, help="before and after the node is killed")
    parser.add_argument("--clients", type=int, default=2)
    args = parser.parse_args()
    queries = read_queries(args.queries)
    expected = Expected(args.reference, args.sharded, queries)
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 100_000_000}
    )
    for _ in range(args.nodes):
        cluster.add_node(num_cpus=4, object_store_memory=100_000_000, wait=True)
    connect(cluster.address)
    job = ClusterJob(
        folders={NAME: str(args.sharded.absolute())},
        settings=Settings(page=False),
        options=EncoderOptions(),
        host="127.0.0.1",
        port=PORT,
        replicas=args.replicas,
        shard_seconds=3.0,
    )
    start = time.monotonic()
    with serving_on_cluster(job):
        print(f"up after {time.monotonic() - start:.1f} s", flush=True)
        places = {shard: nodes_of(NAME, shard) for shard in range(expected.count)}
        print(
            "nodes of each shard:",
            {s: sorted(n[:6] for n in found) for s, found in places.items()},
            flush=True,
        )
        clients = Clients(queries, expected, args.clients)
        time.sleep(args.seconds)
        # The node that holds most shards dies.
        held = Counter(node for found in places.values() for node in found)
        victim = held.most_common(1)[0][0]
        (node,) = [node for node in cluster.worker_nodes if node.node_id == victim]
        killed = time.monotonic()
        cluster.remove_node(node, allow_graceful=False)
        print(f"killed the node {victim[:6]} with replicas of {held[victim]} shards", flush=True)
        time.sleep(args.seconds)
        end = time.monotonic()
        recovered = None
        while time.monotonic() < end + 120:
            after = [(start, kind) for start, kind, _ in clients.seen if start > killed]
            if len(after) > 20 and all(kind == "complete" for _, kind in after[-20:]):
                bad = [start for start, kind in after if kind != "complete"]
                recovered = max(bad) - killed if bad else 0.0
                break
            time.sleep(0.5)
        clients.stop()
        facts = {
            "replicas": args.replicas,
            "shards": expected.count,
            "before": clients.counts(0.0, killed),
            "after the node was killed": clients.counts(killed),
            "last answer that was not complete, s after": None if recovered is None else round(recovered, 1),
        }
        print(json.dumps(facts, indent=1), flush=True)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
