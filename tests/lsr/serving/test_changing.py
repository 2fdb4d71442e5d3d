"""Routes that change an index: what they do, what they refuse, and what searches see of it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import lsr
from lsr.corpus import Document
from lsr.index import Index, IndexEditor
from lsr.serving import Keys, LocalIndex, Settings, create_app

DOCUMENTS = "/v1/indexes/notes/documents"
DELETE = f"{DOCUMENTS}/delete"


def found(client: TestClient, query: str) -> set[str]:
    answer = client.get("/v1/indexes/notes/search", params={"q": query})
    assert answer.status_code == 200
    return {result["id"] for result in answer.json()["results"]}


def new(*ids: str, text: str = "fresh electricity") -> dict[str, Any]:
    return {"documents": [{"id": id_, "text": text} for id_ in ids]}


def test_a_life_of_changes(client: TestClient, writing: dict[str, str], folder: Path) -> None:
    body = {"documents": [{"id": "tide", "title": "Tides", "text": "The moon.", "metadata": {"year": 1999}}]}
    added = client.post(DOCUMENTS, json=body, headers=writing)
    assert added.status_code == 200
    assert added.json() == {
        "added": 1,
        "replaced": 0,
        "deleted": 0,
        "documents": 4,
        "empty": 0,
        "cut": 0,
        "saturated": 0,
        "notes": [],
    }
    assert found(client, "moon") == {"tide"}
    changed = client.put(DOCUMENTS, json=new("tide", "other"), headers=writing).json()
    assert (changed["added"], changed["replaced"], changed["documents"]) == (1, 1, 5)
    assert found(client, "moon") == set()
    assert found(client, "fresh") == {"tide", "other"}
    gone = client.post(DELETE, json={"ids": ["tide", "solar"]}, headers=writing).json()
    assert (gone["deleted"], gone["documents"]) == (2, 3)
    assert found(client, "electricity") == {"wind", "other"}
    told = client.get("/metrics").text
    assert 'lsr_documents_changed_total{change="add",index="notes"} 2.0' in told
    with lsr.Searcher(folder) as searcher:
        assert {hit.id for hit in searcher.search("electricity")} == {"wind", "other"}
        assert searcher.index.verify() > 0


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "told"),
    [
        (
            "POST",
            DOCUMENTS,
            new("tide", "wind"),
            409,
            "documents[1]: the id 'wind' is in the index notes already",
        ),
        ("POST", DOCUMENTS, new("tide", "tide"), 409, "documents[1]: the id 'tide' occurs twice"),
        ("POST", DOCUMENTS, {"documents": []}, 422, "documents: "),
        ("POST", DOCUMENTS, new(*map(str, range(21))), 422, "at most 20 items"),
        ("POST", DOCUMENTS, {"documents": [{"text": "x"}]}, 422, "documents[0].id: field required"),
        ("POST", DOCUMENTS, new("a\nb"), 422, "documents[0].id: "),
        ("POST", DOCUMENTS, new("a\0b"), 422, "documents[0].id: "),
        ("POST", DOCUMENTS, new(""), 422, "documents[0].id: "),
        ("POST", DOCUMENTS, {"documents": [{"id": "x", "path": "/etc/passwd"}]}, 422, "documents[0].path: "),
        ("POST", DOCUMENTS, {"documents": [{"id": "x", "metadata": {"a": {"b": 1}}}]}, 422, "metadata.a"),
        ("POST", DOCUMENTS, {"documents": ["/etc/passwd"]}, 422, "documents[0]: "),
        ("POST", DOCUMENTS, {"documents": [{"id": "x", "vector": {"a": 1}}]}, 409, "counts words itself"),
        ("POST", DELETE, {"ids": ["solar", "nix"]}, 404, "the index notes has no document 'nix'"),
        ("POST", DELETE, {"ids": []}, 422, "ids: "),
        ("PUT", "/v1/indexes/none/documents", new("x"), 404, "no such index"),
    ],
)
def test_refused_changes_change_nothing(
    client: TestClient,
    writing: dict[str, str],
    folder: Path,
    method: str,
    path: str,
    body: Any,
    status: int,
    told: str,
) -> None:
    before = (folder / "manifest.json").read_bytes()
    answer = client.request(method, path, json=body, headers=writing)
    assert answer.status_code == status
    assert told in answer.json()["error"]
    assert "secret-place" not in answer.text
    assert (folder / "manifest.json").read_bytes() == before
    assert found(client, "electricity") == {"solar", "wind"}


def test_ids_that_may_be_missing(client: TestClient, writing: dict[str, str]) -> None:
    body = {"ids": ["solar", "nix", "solar"], "skip_missing": True}
    assert client.post(DELETE, json=body, headers=writing).json()["deleted"] == 1
    assert client.post(DELETE, json=body, headers=writing).json()["deleted"] == 0


def test_metadata_stays_as_it_was_sent(client: TestClient, writing: dict[str, str]) -> None:
    metadata = {
        "year": 2024,
        "big": 1 << 80,
        "share": 0.5,
        "open": True,
        "none": None,
        "tags": ["a", 1],
        "o'r": "ä\0",
    }
    body = {"documents": [{"id": "x", "text": "odd bread", "metadata": metadata}]}
    assert client.post(DOCUMENTS, json=body, headers=writing).status_code == 200
    stored = client.get(DOCUMENTS, params={"id": "x"}).json()["documents"][0]["metadata"]
    del metadata["none"]
    assert stored == metadata
    body = {"documents": [{"id": "y", "metadata": {"tags": [None]}}]}
    assert client.post(DOCUMENTS, json=body, headers=writing).status_code == 422


def test_a_field_of_another_type_is_told(client: TestClient, writing: dict[str, str]) -> None:
    body = {"documents": [{"id": "x", "text": "bread", "metadata": {"year": "unknown"}}]}
    notes = client.post(DOCUMENTS, json=body, headers=writing).json()["notes"]
    assert notes == ["the field year was of the type integer and is text now; filters compare it as that."]


def test_changes_of_other_processes_are_found_by_the_next_search(client: TestClient, folder: Path) -> None:
    lsr.add_documents([Document("other", "Written elsewhere about electricity")], folder)
    assert found(client, "electricity") == {"solar", "wind", "other"}
    lsr.delete_documents(["solar"], folder)
    assert found(client, "electricity") == {"wind", "other"}
    lsr.compact_index(folder)
    assert found(client, "electricity") == {"wind", "other"}
    lsr.build_index([Document("z", "all new electricity")], folder, "bm25", overwrite=True)
    assert found(client, "electricity") == {"z"}


def test_another_writer_is_waited_for_a_while(
    client: TestClient, writing: dict[str, str], folder: Path
) -> None:
    with IndexEditor(folder):
        answer = client.post(DOCUMENTS, json=new("x"), headers=writing)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "being changed by another process" in answer.json()["error"]
        assert found(client, "electricity") == {"solar", "wind"}
    editor = IndexEditor(folder)
    threading.Timer(0.1, editor.close).start()
    assert client.post(DOCUMENTS, json=new("x"), headers=writing).status_code == 200


def test_a_damaged_newer_snapshot_leaves_the_older_one_in_service(
    client: TestClient, writing: dict[str, str], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = folder / "manifest.json"
    whole = manifest.read_bytes()
    replaced = folder / "new"
    replaced.write_bytes(whole[:-100])
    replaced.replace(manifest)
    assert found(client, "electricity") == {"solar", "wind"}
    ready = client.get("/ready")
    assert ready.status_code == 503
    assert "secret-place" not in ready.text
    assert "older one serves on" in caplog.text
    assert client.post(DOCUMENTS, json=new("x"), headers=writing).status_code == 500
    replaced.write_bytes(whole)
    replaced.replace(manifest)
    for _ in range(50):
        if client.get("/ready").status_code == 200:
            break
        threading.Event().wait(0.05)
    assert client.get("/ready").status_code == 200
    assert client.post(DOCUMENTS, json=new("x"), headers=writing).status_code == 200


def test_an_index_that_is_gone_is_not_ready(client: TestClient, folder: Path) -> None:
    folder.rename(folder.with_suffix(".away"))
    assert client.get("/ready").status_code == 503
    assert found(client, "electricity") == {"solar", "wind"}
    assert client.get("/health").status_code == 200


def test_vectors_from_elsewhere(tmp_path: Path, writing: dict[str, str]) -> None:
    folder = tmp_path / "vectors.index"
    lsr.build_index([Document("a", "", vector={"sun": 2.0, "roof": 1.0})], folder)
    app = create_app(
        {"v": LocalIndex(folder, "v")}, Settings(keys=Keys(write=[writing["Authorization"][7:]]))
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        body = {"documents": [{"id": "b", "vector": {"sun": 1.5, "moon": 3}, "text": "kept"}]}
        assert client.post("/v1/indexes/v/documents", json=body, headers=writing).json()["added"] == 1
        results = client.post("/v1/indexes/v/search", json={"vector": {"moon": 1}}).json()["results"]
        assert [(r["id"], r["text"]) for r in results] == [("b", "kept")]
        mixed = {"documents": [{"id": "c", "text": "without"}]}
        answer = client.post("/v1/indexes/v/documents", json=mixed, headers=writing)
        assert (answer.status_code, "vector" in answer.json()["error"]) == (409, True)
        encoded = client.post("/v1/indexes/v/encode", json={"texts": ["sun"], "side": "document"})
        assert encoded.status_code == 422


def test_many_writers_and_readers_at_once(writing: dict[str, str], folder: Path) -> None:
    """Every change is there in the end, and every search in between sees whole changes alone."""
    app = create_app(
        {"notes": LocalIndex(folder, "notes", durable=False)},
        Settings(keys=Keys(write=[writing["Authorization"][7:]])),
    )
    with TestClient(app) as client:
        problems = _write_and_read_at_once(client, writing)
    assert problems == []
    with Index(folder) as index:
        assert index.document_count == 3 + 3 * 4 * 2


def _write_and_read_at_once(client: TestClient, writing: dict[str, str]) -> list[str]:
    problems: list[str] = []
    done = threading.Event()

    def write(name: str) -> None:
        for n in range(4):
            body = new(f"{name}-{n}-a", f"{name}-{n}-b", text=f"pair {name}{n}")
            answer = client.post(DOCUMENTS, json=body, headers=writing)
            if answer.status_code != 200:
                problems.append(answer.text)

    def read() -> None:
        while not done.is_set():
            answer = client.get("/v1/indexes/notes/search", params={"q": "pair", "k": 50})
            ids = [result["id"] for result in answer.json()["results"]]
            if len(ids) % 2 or {i[:-1] + "a" for i in ids} != {i for i in ids if i.endswith("a")}:
                problems.append(json.dumps(ids))

    writers = [threading.Thread(target=write, args=(name,)) for name in "xyz"]
    readers = [threading.Thread(target=read) for _ in range(3)]
    for thread in [*writers, *readers]:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    return problems
