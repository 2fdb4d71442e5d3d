"""Loading and asking OpenSearch and Elasticsearch through their clients, over a server that keeps their rules.

The server knows the requests that are documented for both, and refuses what they refuse: feature
names with dots (Elasticsearch), weights above Lucene's 64 (OpenSearch), long ids, unknown queries.
It scores as Lucene's FeatureField does, from the 9 bits that are kept.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import lsr
from lsr.errors import UserError
from lsr.export import EngineSearcher, load_into_engine


def kept(value: float) -> float:
    """What Lucene keeps of a feature: the upper 17 bits of the float."""
    bits = np.array([value], np.float32).view(np.int32) >> 15 << 15
    return float(bits.view(np.float32)[0])


class Refused(Exception):
    pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    indices: ClassVar[dict[str, dict[str, Any]]]
    elastic: ClassVar[bool]
    fail_after: ClassVar[int | None]

    def log_message(self, *_: Any) -> None:
        pass

    def _reply(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", self.headers.get("Accept") or "application/json")
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _serve(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name, _, verb = self.path.split("?")[0].strip("/").partition("/")
        try:
            if name == "_bulk" or verb == "_bulk":
                self._reply(200, self._bulk(content))
            elif self.command in ("HEAD", "GET") and name not in self.indices:
                self._reply(404, {"error": {"reason": f"no such index [{name}]"}})
            elif self.command == "HEAD":
                self._reply(200, {})
            elif self.command == "DELETE":
                del self.indices[name]
                self._reply(200, {"acknowledged": True})
            elif verb == "_mapping" and self.command == "GET":
                self._reply(200, {name: {"mappings": self.indices[name]["mappings"]}})
            elif verb == "_mapping":
                self.indices[name]["mappings"].update(json.loads(content))
                self._reply(200, {"acknowledged": True})
            elif verb == "_refresh":
                self.indices[name]["visible"] = dict(self.indices[name]["documents"])
                self._reply(200, {})
            elif verb == "_msearch":
                lines = [json.loads(line) for line in content.splitlines() if line]
                self._reply(200, {"responses": [self._search(name, body) for body in lines[1::2]]})
            elif self.command == "PUT" and not verb:
                mappings = json.loads(content)["mappings"]
                kind = mappings["properties"]["impacts"]["type"]
                assert kind == ("sparse_vector" if self.elastic else "rank_features")
                self.indices[name] = {"mappings": mappings, "documents": {}, "visible": {}}
                self._reply(200, {"acknowledged": True})
            else:
                self._reply(400, {"error": {"reason": f"{self.command} {self.path}"}})
        except Refused as error:
            self._reply(400, {"error": {"type": "illegal_argument_exception", "reason": str(error)}})

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve

    def _bulk(self, content: bytes) -> dict[str, Any]:
        lines = [json.loads(line) for line in content.splitlines() if line]
        items = []
        for action, body in zip(lines[::2], lines[1::2], strict=True):
            (where,) = action.values()
            documents = self.indices[where["_index"]]["documents"]
            try:
                if self.fail_after is not None and len(documents) >= self.fail_after:
                    raise Refused("the disk is full")
                if len(where["_id"].encode()) > 512:
                    raise Refused("id is too long")
                for feature, value in body["impacts"].items():
                    if self.elastic and "." in feature:
                        raise Refused(f"fields do not support dots in feature names but found [{feature}]")
                    if not value > 0:
                        raise Refused("strictly positive")
                documents[where["_id"]] = body
                items.append({"index": {"_id": where["_id"], "status": 201}})
            except Refused as error:
                reason = {"type": "x", "reason": "failed to parse", "caused_by": {"reason": str(error)}}
                items.append({"index": {"_id": where["_id"], "status": 400, "error": reason}})
        return {"errors": any("error" in item["index"] for item in items), "items": items}

    def _search(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        (kind,) = body["query"]
        boost = 1.0
        if self.elastic:
            clause = body["query"]["sparse_vector"]
            assert clause["field"] == "impacts"
            assert clause["prune"] is False
            weights = clause["query_vector"]
        else:
            clause = body["query"]["neural_sparse"]["impacts"]
            weights, boost = clause["query_tokens"], clause.get("boost", 1.0)
            if not all(0 < weight <= 64 for weight in weights.values()):
                return {"error": {"reason": "weight must be in ]0, 64]"}, "status": 400}
        assert body["sort"] == [{"_score": "desc"}, {"number": "asc"}]
        assert kind
        hits = []
        for id_, document in self.indices[name]["visible"].items():
            features = document["impacts"]
            terms = [
                np.float32(w * boost) * np.float32(kept(features[t]))
                for t, w in weights.items()
                if t in features
            ]
            if terms:
                hits.append((-float(np.float32(sum(map(float, terms)))), document["number"], id_))
        found = [
            {"_id": id_, "_score": -score, "sort": [-score, n]}
            for score, n, id_ in sorted(hits)[: body["size"]]
        ]
        return {"hits": {"hits": found}, "status": 200}


@pytest.fixture(params=["opensearch", "elasticsearch"])
def running(request: pytest.FixtureRequest) -> Iterator[tuple[str, str, type[Handler]]]:
    """The engine's name, the URL of a server of its kind, and the server's state."""
    library = {"opensearch": "opensearchpy", "elasticsearch": "elasticsearch"}[request.param]
    pytest.importorskip(library, reason="the engine's own client")
    state = type(
        "State", (Handler,), {"indices": {}, "elastic": request.param == "elasticsearch", "fail_after": None}
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), state)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield request.param, f"http://127.0.0.1:{server.server_port}", state
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_engine_ranks_as_the_index(folder: Path, weights: Any, running: Any) -> None:
    engine, url, state = running
    report = load_into_engine(folder, engine, url)
    assert report.documents == len(state.indices["my_papers"]["visible"]) == 54
    assert state.indices["my_papers"]["mappings"]["_meta"]["lsr"]["complete"] is True
    with lsr.Searcher(folder) as ours, EngineSearcher(folder, engine, url) as theirs:
        for expected, found in zip(
            ours.search_weights(weights, 20), theirs.search_weights(weights, 20), strict=True
        ):
            assert found.documents.tolist() == expected.documents.tolist()
            assert found.scores == pytest.approx(expected.scores, rel=1e-6)
        assert len(expected.documents) == 0  # The last query has no term.
        with pytest.raises(UserError, match="leave it out where another engine searches"):
            theirs.search_weights(weights, 20, where="year > 2000")


def test_mistakes(folder: Path, weights: Any, running: Any, tmp_path: Path) -> None:
    engine, url, state = running
    with (
        EngineSearcher(folder, engine, url) as searcher,
        pytest.raises(UserError, match=r"has no 'my_papers'; load it with: lsr export"),
    ):
        searcher.search_weights(weights)
    state.fail_after = 10
    with pytest.raises(UserError, match="refused a document: failed to parse \\(the disk is full\\)"):
        load_into_engine(folder, engine, url)
    assert state.indices == {}
    state.fail_after = None
    load_into_engine(folder, engine, url)
    with pytest.raises(UserError, match="has 'my_papers' already"):
        load_into_engine(folder, engine, url)
    state.indices["my_papers"]["mappings"]["_meta"]["lsr"]["complete"] = False
    with EngineSearcher(folder, engine, url) as searcher, pytest.raises(UserError, match="was not finished"):
        searcher.search_weights(weights)
    # Deleted here after the export: the engine knows a document that the index does not.
    import shutil

    state.indices["my_papers"]["mappings"]["_meta"]["lsr"]["complete"] = True
    shutil.copytree(folder, tmp_path / "my_papers.index")
    lsr.delete_documents(["d/0 ü:0"], tmp_path / "my_papers.index")
    with (
        EngineSearcher(tmp_path / "my_papers.index", engine, url) as searcher,
        pytest.raises(UserError, match="have diverged; export the index again"),
    ):
        searcher.search_weights(weights)
    with (
        EngineSearcher(folder, engine, "http://127.0.0.1:9") as searcher,
        pytest.raises(UserError, match=r"at http://127.0.0.1:9 answered: .*check --url and LSR_ENGINE_KEY"),
    ):
        searcher.search_weights(weights)
