"""The routes of the service, over an index of this machine."""

from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient

import lsr


def test_a_search_returns_what_the_library_returns(client: TestClient, folder: Path) -> None:
    with lsr.Searcher(folder) as searcher:
        expected = searcher.search("electricity from panels", 2)
    answer = client.post("/v1/indexes/notes/search", json={"query": "electricity from panels", "k": 2})
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [(r["id"], r["score"], r["title"]) for r in results] == [
        (hit.id, hit.score, hit.title) for hit in expected
    ]
    assert results[0]["metadata"] == {"year": 2020}
