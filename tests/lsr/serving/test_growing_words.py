"""An index whose vocabulary grows with its documents (``terms=words``), changed through the service."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import lsr
from lsr.corpus import Document
from lsr.encoders.options import EncoderOptions
from lsr.index import Index, IndexEditor
from lsr.serving import Keys, LocalIndex, Settings, create_app

from .conftest import DOCUMENTS, KEY

ROUTE = "/v1/indexes/notes/documents"
OPTIONS = EncoderOptions(threads=1, settings={"terms": "words"})


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("growing") / "notes.index"
    lsr.build_index(DOCUMENTS, folder, "default-tiny", options=OPTIONS, durable=False)
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "notes.index"))


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    with TestClient(application(folder), raise_server_exceptions=False) as client:
        yield client


def application(folder: Path) -> Any:
    index = LocalIndex(folder, "notes", options=EncoderOptions(threads=1), durable=False)
    return create_app({"notes": index}, Settings(keys=Keys(write=[KEY])))


def add(client: TestClient, *documents: Document) -> int:
    body = {"documents": [{"id": d.id, "text": d.text} for d in documents]}
    return client.post(ROUTE, json=body, headers={"Authorization": f"Bearer {KEY}"}).status_code


def best(client: TestClient, query: str) -> dict[str, Any]:
    answer = client.get("/v1/indexes/notes/search", params={"q": query, "include": ["terms"]}).json()
    found: dict[str, Any] = answer["results"][0]
    return found


def grown(folder: Path) -> list[str]:
    with Index(folder) as index:
        return [term for term in index.vocabulary() if term.endswith("*") and len(term) > 1]


def test_new_words_come_several_times_and_after_a_failure(
    client: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = grown(folder)
    made = [
        Document("a", "The zyxquorp drives the wugglebat."),
        Document("b", "A snarfleboom, and a second wugglebat."),
        Document("c", "Flimjab with zyxquorp and a vorpsnik."),
        Document("d", "Quuxelbump without a flimjab."),
    ]
    assert add(client, made[0]) == 200
    assert best(client, "zyxquorp")["id"] == "a"
    assert (
        add(client, Document("x", "A glorbinax"), Document("a", "An id that is taken, blorfenspiel")) == 409
    )

    def fails(editor: IndexEditor, *arguments: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(IndexEditor, "commit", fails)
        assert add(client, Document("y", "A lost trindlewok")) == 500
    # Texts that are only encoded leave nothing either.
    body = {"texts": ["The unheard pindlefrax"], "side": "document"}
    terms = client.post("/v1/indexes/notes/encode", json=body).json()["terms"][0]
    assert "pindlefrax*" in {term["term"] for term in terms}
    assert add(client, made[1]) == 200
    assert best(client, "snarfleboom")["id"] == "b"
    lsr.add_documents([made[2]], folder, options=EncoderOptions(threads=1))
    assert best(client, "vorpsnik")["id"] == "c"
    assert add(client, made[3]) == 200
    found = best(client, "quuxelbump")
    assert found["id"] == "d"
    assert {"quuxelbump*"} == {t["term"] for t in found["terms"] if t["term"].endswith("*")}

    one = folder.with_name("one.index")
    lsr.build_index([*DOCUMENTS, *made], one, "default-tiny", options=OPTIONS, durable=False)
    assert grown(folder) == grown(one)
    assert len(grown(one)) == len(before) + 6
    queries = ["zyxquorp electricity", "a flimjab of bread", "wugglebat", "blorfenspiel trindlewok glorbinax"]
    with lsr.Searcher(folder) as a, lsr.Searcher(one) as b:
        x, y = a.encode_queries(queries), b.encode_queries(queries)
        assert (x != y).nnz == 0
        for row, hits in enumerate(b.search_weights(y, 10)):
            mine = a.search_weights(x, 10)[row]
            assert a.document_ids(mine.documents) == b.document_ids(hits.documents)
            assert hits.documents.size > 0 or row == 3


def test_two_services_write_at_once(client: TestClient, folder: Path) -> None:
    """Two processes' encoders have met different words; each change goes by the index's."""
    words = {name: [f"{name}wug{chr(97 + i)}" for i in range(4)] for name in ("p", "q")}
    statuses: list[int] = []
    with TestClient(application(folder)) as other:

        def write(name: str, to: TestClient) -> None:
            for word in words[name]:
                statuses.append(add(to, Document(word, f"{word} and common{word[-1]}zorb")))

        threads = [threading.Thread(target=write, args=pair) for pair in (("p", client), ("q", other))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 8
        for word in [*words["p"], *words["q"]]:
            for asked in (client, other):
                assert best(asked, word)["id"] == word
    terms = grown(folder)
    assert len(set(terms)) == len(terms)
    assert {f"common{letter}zorb*" for letter in "abcd"} <= set(terms)
