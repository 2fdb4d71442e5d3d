"""The HTTP service's view of shards that are searched elsewhere: exact merging, losses, shards that are away."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the service")

from lsr.cluster import LocalExecutor, build_sharded_index
from lsr.cluster.cluster_index import ClusterIndex, Lost
from lsr.cluster.shard_service import ShardAnswer, ShardQuery, ShardService
from lsr.index import open_index
from lsr.retrieval import build_index
from lsr.serving.interface import Conflict, Query, Refusal, SearchOptions, Unavailable
from lsr.serving.local import LocalIndex

TEXTS = [
    "solar panel roof",
    "wind turbine",
    "solar wind",
    "roof",
    "panel panel solar",
    "turbine roof wind",
    "sun",
]
QUERIES = [Query("solar roof"), Query("wind"), Query("panel turbine"), Query("nothing")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One index in one piece and in three shards; a field whose type no shard knows alone."""
    folder = tmp_path_factory.mktemp("cluster")
    lines = [
        json.dumps({"id": f"d{i}", "text": TEXTS[i % len(TEXTS)], "n": i if i < 20 else f"x{i}", "m": i})
        for i in range(60)
    ]
    (folder / "c.jsonl").write_text("\n".join(lines))
    build_index([folder / "c.jsonl"], folder / "one", "bm25")
    build_sharded_index([folder / "c.jsonl"], folder / "many", "bm25", executor=LocalExecutor(), shards=3)
    return folder / "one", folder / "many"


class Replica:
    """An answer that comes after a while, or never, or is lost."""

    def __init__(self, service: ShardService, query: ShardQuery, after: float, lost: bool) -> None:
        self._answer = service.search(query)
        self._ready = time.monotonic() + after
        self._lost = lost
        self.cancelled = False

    def result(self, seconds: float) -> ShardAnswer:
        left = self._ready - time.monotonic()
        if left > seconds:
            time.sleep(seconds)
            raise TimeoutError
        time.sleep(max(left, 0))
        if self._lost:
            raise Lost
        return self._answer

    def cancel(self) -> None:
        self.cancelled = True


class Shards:
    """`behaviour[shard]` lists what becomes of one question after the other; the last goes on.

    A number is the seconds until an answer, "lost" one that is lost, "none" nobody to ask.
    """

    def __init__(self, folder: Path, behaviour: dict[int, list[Any]] | None = None) -> None:
        with open_index(folder) as index:
            names, fields = index.shards, index.fields  # type: ignore[attr-defined]
        self.services = [ShardService(str(folder), name, fields) for name in names]
        self.behaviour = behaviour or {}
        self.asked = [0] * len(names)

    def ask(self, shard: int, query: ShardQuery) -> Replica:
        plan = self.behaviour.get(shard, [0.0])
        act = plan[min(self.asked[shard], len(plan) - 1)]
        self.asked[shard] += 1
        if act == "none":
            raise Lost
        return Replica(self.services[shard], query, 0.01 if act == "lost" else act, act == "lost")


def opened(folder: Path, behaviour: dict[int, list[Any]] | None = None, seconds: float = 3.0) -> ClusterIndex:
    return ClusterIndex(folder, "many", Shards(folder, behaviour), shard_seconds=seconds)


@pytest.mark.parametrize("where", [None, "m >= 17 and m < 45", "n = 'x30' or n = '7'"])
def test_answers_are_those_of_one_index(folders: tuple[Path, Path], where: str | None) -> None:
    one, many = LocalIndex(folders[0], "one"), opened(folders[1])
    for k in (1, 7, 60):
        options = SearchOptions(k=k, where=where, include=frozenset(("title", "snippet", "marks", "terms")))
        expected, found = one.search(QUERIES, options), many.search(QUERIES, options)
        assert found.results == expected.results
        assert (found.documents, found.missing_shards) == (60, [])
    one.close()
    many.close()


def test_lost_and_slow_replicas_are_made_up_for(folders: tuple[Path, Path]) -> None:
    expected = LocalIndex(folders[0], "one").search(QUERIES, SearchOptions()).results
    for plan in (["lost", "lost", 0.0], ["none", "none", 0.0], [60.0, 0.0], [60.0, "none", "lost", 0.0]):
        index = opened(folders[1], {1: plan})
        start = time.monotonic()
        answer = index.search(QUERIES, SearchOptions())
        assert answer.results == expected
        assert answer.missing_shards == []
        assert time.monotonic() - start < 2.5
        index.close()


def test_a_shard_that_is_away_is_named_and_waited_for_shortly(folders: tuple[Path, Path]) -> None:
    index = opened(folders[1], {1: [60.0]}, seconds=0.6)
    complete = LocalIndex(folders[0], "one").search(QUERIES, SearchOptions(k=60))
    kept = [[r for r in results if not 20 <= int(r.id[1:]) < 40] for results in complete.results]
    start = time.monotonic()
    answer = index.search(QUERIES, SearchOptions(k=60))
    assert 0.5 < time.monotonic() - start < 2.5
    assert answer.missing_shards == ["shard 1"]
    assert answer.results == kept
    assert index.info().missing_shards == ["shard 1"]
    assert index.info().shards == 3
    start = time.monotonic()
    assert index.search(QUERIES, SearchOptions()).missing_shards == ["shard 1"]
    assert time.monotonic() - start < 0.5
    index.check()
    index._shards.behaviour = {}  # type: ignore[attr-defined]
    assert index.search(QUERIES, SearchOptions(k=60)).results == complete.results
    assert index.info().missing_shards == []
    index.close()


def test_waiting_for_shards_to_start(folders: tuple[Path, Path]) -> None:
    index = opened(folders[1], {1: ["none"] * 30 + [0.0]}, seconds=0.2)
    index.wait_for_shards(10.0)
    assert index.search(QUERIES, SearchOptions()).missing_shards == []
    away = opened(folders[1], {1: [60.0]}, seconds=0.2)
    start = time.monotonic()
    away.wait_for_shards(0.5)
    assert time.monotonic() - start < 3.0


def test_when_no_shard_answers(folders: tuple[Path, Path]) -> None:
    index = opened(folders[1], {0: ["none"], 1: ["lost"], 2: [60.0]}, seconds=0.3)
    with pytest.raises(Unavailable, match="No shard of the index many answers"):
        index.search(QUERIES, SearchOptions())
    index.close()


def test_what_is_refused(folders: tuple[Path, Path]) -> None:
    index = opened(folders[1])
    with pytest.raises(Refusal, match="there is no field 'year'"):
        index.search(QUERIES, SearchOptions(where="year > 3"))
    # Nor over this machine's own hands on the shards.
    for one in (index, LocalIndex(folders[1], "many")):
        for change in (
            partial(one.add, []),
            partial(one.update, []),
            partial(one.delete, [], skip_missing=True),
        ):
            with pytest.raises(Conflict, match="is sharded, which is searched but not changed"):
                change()
        (terms,) = one.encode(["wind wind roof"], "document")
        assert {term.term: term.weight for term in terms} == {"wind": 2.0, "roof": 1.0}
        one.close()
    from lsr.errors import UserError

    with pytest.raises(UserError, match="is not a sharded index"):
        ClusterIndex(folders[0], "one", Shards(folders[1])).search(QUERIES, SearchOptions())


def test_over_http(folders: tuple[Path, Path]) -> None:
    testclient = pytest.importorskip("starlette.testclient", reason="needs httpx")
    from lsr.serving import create_app

    index = opened(folders[1], {2: [60.0]}, seconds=0.3)
    with testclient.TestClient(create_app({"many": index}), base_url="http://127.0.0.1") as client:
        answer = client.get("/v1/indexes/many/search?q=solar").json()
        assert answer["missing_shards"] == ["shard 2"]
        assert all(int(result["id"][1:]) < 40 for result in answer["results"])
