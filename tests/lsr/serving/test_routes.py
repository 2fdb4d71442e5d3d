"""The routes that read, over an index of this machine: what the library returns, told as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

import lsr
from lsr.corpus import Document
from lsr.serving import LocalIndex, create_app

NOTES = "/v1/indexes/notes"


def test_a_search_returns_what_the_library_returns(client: TestClient, folder: Path) -> None:
    with lsr.Searcher(folder) as searcher:
        expected = searcher.search("electricity from panels", 2)
    answer = client.post(f"{NOTES}/search", json={"query": "electricity from panels", "k": 2})
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [(r["id"], r["score"], r["title"]) for r in results] == [
        (hit.id, hit.score, hit.title) for hit in expected
    ]
    assert results[0]["metadata"] == {"year": 2020}
    assert results[0]["text"] == expected[0].text
    assert set(results[0]) == {"id", "score", "title", "text", "metadata"}
    assert answer.json()["documents"] == 3
    assert answer.json()["missing_shards"] == []
    in_address = client.get(f"{NOTES}/search", params={"q": "electricity from panels", "k": 2})
    assert in_address.json()["results"] == results


def test_a_batch_returns_what_single_searches_return(client: TestClient) -> None:
    queries = ["electricity", "bread", "nothing of this", "", "electricity"]
    body = {"k": 2, "include": ["title", "marks", "snippet", "terms", "text", "metadata"]}
    batch = client.post(f"{NOTES}/search/batch", json={"queries": queries, **body}).json()["results"]
    for query, found in zip(queries, batch, strict=True):
        alone = client.post(f"{NOTES}/search", json={"query": query, **body}).json()
        assert alone["results"] == found
    assert [len(found) for found in batch] == [2, 1, 0, 0, 2]


def test_weights_search_as_the_query_does_that_they_are_of(client: TestClient) -> None:
    terms = client.post(f"{NOTES}/encode", json={"texts": ["electricity from panels"]}).json()["terms"][0]
    vector = {term["term"]: term["weight"] for term in terms}
    assert set(vector) == {"electr", "panel"}
    by_text = client.post(f"{NOTES}/search", json={"query": "electricity from panels", "include": []}).json()
    by_vector = client.post(f"{NOTES}/search", json={"vector": vector, "include": []}).json()
    assert by_vector["results"] == by_text["results"]
    assert set(by_text["results"][0]) == {"id", "score"}
    unknown = client.post(f"{NOTES}/search", json={"vector": {"no such term": 2, "panel": 1e9}}).json()
    assert [result["id"] for result in unknown["results"]] == ["solar"]
    batch = client.post(f"{NOTES}/search/batch", json={"vectors": [vector, {}], "include": []}).json()
    assert batch["results"] == [by_text["results"], []]


def test_filters(client: TestClient) -> None:
    def found(where: str) -> Any:
        return client.get(f"{NOTES}/search", params={"q": "electricity bread", "where": where}).json()

    assert {r["id"] for r in found("year >= 2021")["results"]} == {"wind", "bread"}
    assert [r["id"] for r in found("has(tags, 'food')")["results"]] == ["bread"]
    assert found("year = 1")["results"] == []
    assert "there is no field 'colour'" in found("colour = 'red'")["error"]


def test_terms_and_marks_say_why(client: TestClient) -> None:
    body = {"query": "panels for electricity", "k": 1, "include": ["title", "snippet", "marks", "terms"]}
    result = client.post(f"{NOTES}/search", json=body).json()["results"][0]
    assert result["id"] == "solar"
    terms = result["terms"]
    assert [term["term"] for term in terms] == ["panel", "electr"]
    assert all(term["in_query"] and term["in_document"] for term in terms)
    assert np.float32(terms[0]["weight"]) * np.float32(terms[0]["impact"]) == np.float32(terms[0]["score"])
    words = [result["snippet"][mark["start"] : mark["end"]] for mark in result["snippet_marks"]]
    assert words == ["panels", "electricity"]
    assert [result["title"][mark["start"] : mark["end"]] for mark in result["title_marks"]] == ["panels"]
    assert [mark["term"] for mark in result["snippet_marks"]] == ["panel", "electr"]


def test_an_explanation_adds_up_to_the_score_whatever_the_rank(client: TestClient) -> None:
    for query in ("electricity panels turn", "electricity", "bread"):
        ranked = client.post(f"{NOTES}/search", json={"query": query, "k": 3}).json()["results"]
        for result in ranked:
            told = client.post(f"{NOTES}/explain", json={"query": query, "id": result["id"]}).json()
            assert told["score"] == result["score"]
            assert told["document"]["title"] == result["title"]
    none = client.post(f"{NOTES}/explain", json={"query": "bread", "id": "wind"}).json()
    assert (none["score"], none["terms"], none["text_marks"]) == (0.0, [], [])
    assert none["document"]["text"].startswith("Turbines")
    missing = client.post(f"{NOTES}/explain", json={"query": "bread", "id": "nix"})
    assert (missing.status_code, missing.json()["error"]) == (404, "The index notes has no document 'nix'.")


def test_documents_come_in_the_order_asked_for(client: TestClient) -> None:
    answer = client.get(f"{NOTES}/documents", params={"id": ["bread", "nix", "solar", "bread"]})
    documents = answer.json()["documents"]
    assert [document and document["id"] for document in documents] == ["bread", None, "solar", "bread"]
    assert documents[0]["metadata"] == {"year": 2022, "tags": ["food"]}
    assert client.get(f"{NOTES}/documents").status_code == 422


def test_encoding(client: TestClient) -> None:
    texts = ["Panels, panels and electricity", ""]
    as_query = client.post(f"{NOTES}/encode", json={"texts": texts}).json()["terms"]
    assert {term["term"] for term in as_query[0]} == {"panel", "electr"}
    assert as_query[1] == []
    as_document = client.post(f"{NOTES}/encode", json={"texts": texts, "side": "document"}).json()["terms"]
    assert [(term["term"], term["weight"]) for term in as_document[0]] == [("panel", 2.0), ("electr", 1.0)]
    assert not any(term["expansion"] for term in as_document[0])


def test_what_an_index_holds(client: TestClient) -> None:
    listed = client.get("/v1/indexes").json()
    info = client.get(NOTES).json()
    assert listed == {"indexes": [info], "writable": True}
    assert (info["name"], info["documents"], info["encoder"], info["texts"]) == ("notes", 3, "bm25", True)
    assert info["fields"] == {"year": "integer", "tags": "list"}
    assert info["query_model"] is False
    assert client.get("/ready").json() == client.get("/health").json() == {"status": "ok"}


def test_figures_for_prometheus(client: TestClient) -> None:
    client.post(f"{NOTES}/search", json={"query": "bread"})
    client.post(f"{NOTES}/search/batch", json={"queries": ["bread", "wind"]})
    client.get("/no/such/place")
    told = client.get("/metrics")
    assert told.headers["content-type"].startswith("text/plain")
    lines = told.text.splitlines()
    assert 'lsr_queries_total{index="notes"} 3.0' in lines
    assert 'lsr_requests_total{method="GET",route="none",status="404"} 1.0' in lines
    route = "/v1/indexes/{index}/search"
    assert f'lsr_requests_total{{method="POST",route="{route}",status="200"}} 1.0' in lines
    assert f'lsr_request_seconds_count{{route="{route}"}} 1.0' in lines
    assert 'lsr_index_documents{index="notes"} 3.0' in lines


def test_several_indexes(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.index"
    lsr.build_index([Document("x", "entirely other bread")], other, "bm25", durable=False)
    app = create_app({"notes": LocalIndex(folder, "notes"), "other": LocalIndex(other, "other")})
    with TestClient(app) as client:
        for name, expected in (("notes", ["bread"]), ("other", ["x"])):
            results = client.get(f"/v1/indexes/{name}/search", params={"q": "bread"}).json()["results"]
            assert [result["id"] for result in results] == expected
        assert [info["name"] for info in client.get("/v1/indexes").json()["indexes"]] == ["notes", "other"]


def test_an_index_without_texts(tmp_path: Path) -> None:
    folder = tmp_path / "bare.index"
    lsr.build_index([Document("x", "bread and butter", "Lunch")], folder, "bm25", store_texts=False)
    include = ["title", "snippet", "marks", "text", "terms"]
    with TestClient(create_app({"bare": LocalIndex(folder, "bare")})) as client:
        body = {"query": "bread", "include": include}
        result = client.post("/v1/indexes/bare/search", json=body).json()["results"][0]
        assert result["title"] == "Lunch"
        assert not {"snippet", "text", "snippet_marks"} & set(result)
        assert result["terms"][0]["in_document"]
        told = client.post("/v1/indexes/bare/explain", json={"query": "bread", "id": "x"}).json()
        assert "text" not in told["document"]


@pytest.mark.parametrize(
    "path", ["/../../etc/passwd", "/page/../app.py", "/page/%2e%2e%2fapp.py", "/page//etc/passwd"]
)
def test_nothing_of_the_file_system_is_reachable(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404
    assert client.get(f"/v1/indexes{path}").status_code == 404
