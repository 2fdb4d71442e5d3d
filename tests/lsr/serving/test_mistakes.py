"""Whatever is sent: one sentence back, nothing told that is nobody's business, and the service goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_index import StubIndex

from lsr.serving import Keys, Limits, Settings, create_app

SEARCH = "/v1/indexes/notes/search"
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "told"),
    [
        ("POST", SEARCH, {}, 422, "query: field required"),
        ("POST", SEARCH, [], 422, "The body: "),
        ("POST", SEARCH, {"query": 7}, 422, "query: "),
        ("POST", SEARCH, {"query": "x", "k": 0}, 422, "k: "),
        ("POST", SEARCH, {"query": "x", "k": 51}, 422, "less than or equal to 50"),
        ("POST", SEARCH, {"query": "x", "k": "5"}, 422, "k: "),
        ("POST", SEARCH, {"query": "x", "k": True}, 422, "k: "),
        ("POST", SEARCH, {"query": "x", "limit": 5}, 422, "limit: "),
        ("POST", SEARCH, {"query": "x", "include": ["all"]}, 422, "include[0]: "),
        ("POST", SEARCH, {"query": "x", "where": "year >"}, 422, "is no filter"),
        ("POST", SEARCH, {"query": "x", "where": "1); drop table documents; --"}, 422, "The filter"),
        ("POST", SEARCH, {"query": "x", "where": "load_extension('x')"}, 422, "The filter"),
        ("POST", SEARCH, {"query": "x", "where": ""}, 422, "The filter is empty"),
        ("POST", SEARCH, {"query": "x" * 1_001}, 422, "at most 1000 characters"),
        ("POST", SEARCH, {"query": "x", "vector": {"x": 1}}, 422, "query: "),
        ("POST", SEARCH, {"vector": {"x": -1}}, 422, "vector.x: "),
        ("POST", SEARCH, {"vector": {"x": 1e39}}, 422, "vector.x: "),
        ("POST", SEARCH, {"vector": {str(n): 1 for n in range(5_000)}}, 422, "vector: "),
        ("POST", f"{SEARCH}/batch", {"queries": []}, 422, "queries: "),
        ("POST", f"{SEARCH}/batch", {"queries": ["x"] * 6}, 422, "queries: "),
        ("POST", f"{SEARCH}/batch", {"queries": ["x", None]}, 422, "queries[1]: "),
        ("POST", "/v1/indexes/notes/encode", {"texts": ["x"], "side": "both"}, 422, "side: "),
        ("POST", "/v1/indexes/none/search", {"query": "x"}, 404, "no such index"),
        ("POST", "/v1/indexes/..%2f..%2fnotes/search", {"query": "x"}, 404, "There is nothing"),
        ("GET", f"{SEARCH}?q=x&k=many", None, 422, "k: it is a whole number"),
        ("GET", f"{SEARCH}?q=x&limit=3", None, 422, "There is no parameter 'limit'"),
        ("GET", f"{SEARCH}?q=x&q=y", None, 422, "q is given more than once"),
        ("GET", SEARCH, None, 422, "q: field required"),
        ("GET", f"{SEARCH}?q=" + "x" * 1_001, None, 422, "q: string should have at most 1000 characters"),
        ("GET", "/v1/indexes/notes/documents?" + "id=x&" * 21, None, 422, "from 1 to 20 documents"),
        ("DELETE", SEARCH, None, 405, "This address takes GET, POST."),
        ("POST", "/v1/indexes/notes/documents", {"documents": []}, 401, "takes an API key"),
    ],
)
def test_mistakes_are_one_sentence(
    client: TestClient, method: str, path: str, body: Any, status: int, told: str
) -> None:
    answer = client.request(method, path, json=body) if body is not None else client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}
    sentence = answer.json()["error"]
    assert told in sentence
    assert len(sentence) < 500
    assert "secret-place" not in sentence
    assert "/" not in sentence.replace("/v1/indexes", "").replace("/openapi.json", "")
    assert client.get(f"{SEARCH}?q=bread").status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"query": "\\ud800"}',
        b'{"query": NaN}',
        b'{"query": "x", "k": 1e999}',
        b'{"vector": {"x": Infinity}}',
        b'{"query": "x", "k": ' + b"9" * 5_000 + b"}",
        b"[" * 50_000,
        b'{"a":' * 10_000,
        b"null",
        b'"query"',
        '{"query": "\u200b'.encode() + b'"',
        b"query=x",
    ],
)
def test_bodies_that_are_no_search(client: TestClient, content: bytes) -> None:
    answer = client.post(SEARCH, content=content, headers=JSON)
    assert answer.status_code in (400, 422)
    assert set(answer.json()) == {"error"}
    assert len(answer.text) < 600


def test_only_json_that_says_so_is_read(client: TestClient) -> None:
    # What a form of another site's page can send without asking first must not do anything.
    for declared in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = client.post(SEARCH, content=b'{"query": "bread"}', headers={"Content-Type": declared})
        assert answer.status_code == 415
    answer = client.post(
        SEARCH, content=b'{"query": "bread"}', headers={"Content-Type": "application/json; charset=utf-8"}
    )
    assert answer.status_code == 200


def test_large_bodies_are_refused_whether_they_say_so_or_not(client: TestClient) -> None:
    body = json.dumps({"query": "x" * 100_000}).encode()
    said = client.post(SEARCH, content=body, headers=JSON)
    unsaid = client.post(SEARCH, content=iter([body[:50_000], body[50_000:]]), headers=JSON)
    for answer in (said, unsaid):
        assert answer.status_code == 413
        assert "100,000 bytes" in answer.json()["error"]
        assert answer.headers["connection"] == "close"


@given(
    query=st.text(max_size=200),
    k=st.integers(1, 50),
    include=st.sets(st.sampled_from(["title", "snippet", "marks", "text", "metadata", "terms"])),
)
@settings(max_examples=60, deadline=None)
def test_any_text_is_a_query(served: TestClient, query: str, k: int, include: set[str]) -> None:
    answer = served.post(SEARCH, json={"query": query, "k": k, "include": sorted(include)})
    assert answer.status_code == 200
    assert len(answer.json()["results"]) <= k


@given(where=st.text(alphabet="yeartgslnk idle()'\"=<>!,.%0123456789;-/*", max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_text_is_a_filter_or_a_mistake(served: TestClient, where: str) -> None:
    answer = served.post(SEARCH, json={"query": "bread", "where": where})
    assert answer.status_code in (200, 422)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An application for many examples."""
    import lsr
    from lsr.corpus import Document
    from lsr.serving import LocalIndex

    folder: Path = tmp_path_factory.mktemp("served") / "notes.index"
    rows = [
        Document(str(n), f"bread {n} \u00e9\u4f60\U0001f600 word", f"Title {n}", {"year": n})
        for n in range(9)
    ]
    lsr.build_index(rows, folder, "bm25", durable=False)
    with TestClient(
        create_app({"notes": LocalIndex(folder, "notes")}), raise_server_exceptions=False
    ) as client:
        yield client


def test_hosts_that_the_service_does_not_go_by() -> None:
    settings = Settings(allowed_hosts=("localhost", "127.0.0.1", "[::1]"))
    with TestClient(create_app({"stub": StubIndex()}, settings)) as client:
        for host in ("localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:80", "localhost."):
            assert client.get("/health", headers={"Host": host}).status_code == 200
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "[::2]"):
            answer = client.get("/health", headers={"Host": host})
            assert answer.status_code == 421
            assert "--allowed-host" in answer.json()["error"]


def test_keys() -> None:
    write, read = "w" * 20, "r" * 20
    with TestClient(create_app({"stub": StubIndex()}, Settings(keys=Keys([write], [read])))) as client:

        def status(path: str, key: str | None, body: object = None, scheme: str = "Bearer") -> int:
            headers = {} if key is None else {"Authorization": f"{scheme} {key}"}
            if body is None:
                return client.get(path, headers=headers).status_code
            return client.post(path, headers=headers, json=body).status_code

        search, documents = "/v1/indexes/stub/search?q=x", "/v1/indexes/stub/documents"
        new = {"documents": [{"id": "1"}]}
        assert [status(search, key) for key in (None, "x", read, write)] == [401, 401, 200, 200]
        assert [status(documents, key, new) for key in (None, "x", read, write)] == [401, 401, 401, 200]
        assert [status("/metrics", key) for key in (None, read)] == [401, 200]
        assert [status(path, None) for path in ("/health", "/ready", "/", "/openapi.json")] == [200] * 4
        assert status(search, read, scheme="Basic") == 401
        assert status(search, read[:-1]) == status(search, read + "r") == 401
        asked = client.get(search)
        assert asked.headers["www-authenticate"] == "Bearer"
    with TestClient(create_app({"stub": StubIndex()})) as client:
        answer = client.post(documents, json=new, headers={"Authorization": f"Bearer {write}"})
        assert (answer.status_code, answer.json()["error"][:30]) == (403, "This service takes no changes:")


def test_a_failure_is_told_to_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise OSError("/secret-place/file: broken")

    with TestClient(create_app({"stub": StubIndex(fail)})) as client:
        answer = client.get("/v1/indexes/stub/search?q=x")
        assert (answer.status_code, answer.json()) == (
            500,
            {"error": "The service failed; its log says why."},
        )
        assert answer.headers["x-content-type-options"] == "nosniff"
        told = client.get("/metrics").text
    assert "secret-place" in caplog.text
    assert 'route="/v1/indexes/{index}/search",status="500"} 1.0' in told


def test_limits_are_in_the_description() -> None:
    limits = Limits(k=7, batch=3, query_characters=11, documents=5)
    with TestClient(create_app({"stub": StubIndex()}, Settings(limits))) as client:
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
    search = schemas["TextSearch"]["properties"]
    assert (search["k"]["maximum"], search["k"]["default"], search["query"]["maxLength"]) == (7, 7, 11)
    assert schemas["TextBatch"]["properties"]["queries"]["maxItems"] == 3
    assert schemas["NewDocuments"]["properties"]["documents"]["maxItems"] == 5
