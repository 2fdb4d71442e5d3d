"""A real Ray cluster of several nodes on this machine; nodes die while it works."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lsr
from lsr.cluster import RayExecutor, build_sharded_index
from lsr.cluster.executors import Work
from lsr.errors import UserError
from lsr.retrieval import build_index

pytest.importorskip("ray", reason="several machines")
pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[Any, list[Any]]]:
    """A cluster and its three workers' nodes; the head does no work."""
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_DISABLE_MEMORY_MONITOR", "1")
    # Workers start where the driver is, and in the checkout ./lsr would be taken for the package.
    monkeypatch.chdir(tmp_path)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 100_000_000})
    nodes = [made.add_node(num_cpus=1, object_store_memory=100_000_000, wait=True) for _ in range(3)]
    yield made, nodes
    ray.shutdown()
    made.shutdown()


@dataclass(frozen=True)
class SlowStage:
    """Takes a while, and says in a file that it has begun."""

    folder: str
    deadly: int | None = None

    def open(self) -> Work:
        return self.do

    def do(self, piece: int) -> int:
        (Path(self.folder) / f"begun-{piece}-{time.time_ns()}").touch()
        time.sleep(1.0)
        if piece == self.deadly:
            os._exit(1)
        if piece == 99:
            raise UserError("piece 99 is wrong")
        return piece * piece


def test_pieces_of_a_node_that_dies_are_done_by_others(cluster: Any, tmp_path: Path) -> None:
    made, nodes = cluster
    with RayExecutor(made.address) as executor:
        assert executor.workers == 3
        results = {}
        killed = False
        for number, result in executor.run(SlowStage(str(tmp_path)), list(range(12))):
            results[number] = result
            if not killed:
                # All workers have a piece by then or get one at once.
                time.sleep(0.3)
                made.remove_node(nodes.pop(), allow_graceful=False)
                killed = True
        assert results == {i: i * i for i in range(12)}
        assert executor.lost >= 1
        assert len(list(tmp_path.glob("begun-*"))) == 12 + executor.lost


def test_mistakes_come_back_as_they_are(cluster: Any, tmp_path: Path) -> None:
    made, _ = cluster
    with RayExecutor(made.address) as executor:
        with pytest.raises(UserError, match="piece 99 is wrong"):
            list(executor.run(SlowStage(str(tmp_path)), [1, 99, 2]))
        with pytest.raises(UserError, match="given up after 6 workers were lost at it"):
            list(executor.run(SlowStage(str(tmp_path), deadly=2), [1, 2]))
        executor.witness = str(tmp_path / "not-there")
        with pytest.raises(UserError, match="does not see"):
            list(executor.run(SlowStage(str(tmp_path)), [1]))
    with pytest.raises(UserError, match="no Ray cluster answers there"):
        RayExecutor("127.0.0.1:9")


def test_an_index_built_while_a_node_dies(cluster: Any, tmp_path: Path) -> None:
    made, nodes = cluster
    generator = np.random.default_rng(3)
    words = [f"w{i}" for i in range(3_000)]
    with (tmp_path / "c.jsonl").open("w") as file:
        for i in range(60_000):
            text = " ".join(words[j] for j in generator.zipf(1.3, 60) % 3_000)
            file.write(json.dumps({"id": f"d{i}", "text": text}) + "\n")
    build_index([tmp_path / "c.jsonl"], tmp_path / "one", "bm25")
    stop = threading.Event()

    def kill() -> None:
        work = tmp_path / ".many.cluster"
        while not stop.is_set():
            done = len(list(work.glob("run-*.json"))) if work.exists() else 0
            if done >= 2:
                made.remove_node(nodes.pop(), allow_graceful=False)
                return
            time.sleep(0.01)

    thread = threading.Thread(target=kill)
    thread.start()
    with RayExecutor(made.address) as executor:
        report = build_sharded_index(
            [tmp_path / "c.jsonl"], tmp_path / "many", "bm25", executor=executor, shards=4
        )
        stop.set()
        thread.join()
        assert len(nodes) == 2
    assert (report.documents, report.shards) == (60_000, 4)
    queries = [f"w{i} w{3 * i} w{i * i % 3_000}" for i in range(200)]
    with lsr.Searcher(tmp_path / "one") as one, lsr.Searcher(tmp_path / "many") as many:
        x, y = one.encode_queries(queries), many.encode_queries(queries)
        assert (x != y).nnz == 0
        for expected, found in zip(one.search_weights(x, 100), many.search_weights(y, 100), strict=True):
            assert found.documents.tolist() == expected.documents.tolist()
            assert found.scores.tobytes() == expected.scores.tobytes()
