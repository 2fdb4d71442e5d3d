"""Loading and asking Milvus (milvus-lite), Qdrant (its local mode) and Vespa (its documented answers)."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import lsr
from lsr.errors import UserError
from lsr.export import EngineSearcher, export_index, live, load_into_engine

LIBRARIES = {"milvus": ["pymilvus", "milvus_lite"], "qdrant": ["qdrant_client"]}


@pytest.fixture(params=["milvus", "qdrant"])
def engine(request: pytest.FixtureRequest) -> str:
    for library in LIBRARIES[request.param]:
        pytest.importorskip(library, reason="the engine itself, in this process")
    return str(request.param)


def test_the_engine_ranks_as_the_index(folder: Path, weights: Any, engine: str, tmp_path: Path) -> None:
    url = str(tmp_path / "store.db")
    load_into_engine(folder, engine, url)
    with lsr.Searcher(folder) as ours, EngineSearcher(folder, engine, url) as theirs:
        for expected, found in zip(
            ours.search_weights(weights, 60), theirs.search_weights(weights, 60), strict=True
        ):
            assert found.documents.tolist() == expected.documents.tolist()
            assert found.scores == pytest.approx(expected.scores, rel=1e-6)
        hit = theirs.hits(found := theirs.search_weights(weights, 1)[0])[0]
        assert (hit.number, hit.score) == (int(found.documents[0]), pytest.approx(float(found.scores[0])))
    with pytest.raises(UserError, match="has 'my_papers' already"):
        load_into_engine(folder, engine, url)


def test_a_load_that_fails_leaves_nothing(
    folder: Path, weights: Any, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lsr.export.source import ExportSource

    url = str(tmp_path / "store.db")
    batches = ExportSource.batches

    def failing(source: ExportSource) -> Any:
        yield next(batches(source, 10))
        raise UserError("no more")

    monkeypatch.setattr(ExportSource, "batches", failing)
    with pytest.raises(UserError, match="no more"):
        load_into_engine(folder, engine, url)
    monkeypatch.undo()
    with (
        EngineSearcher(folder, engine, url) as searcher,
        pytest.raises(UserError, match="has no 'my_papers'"),
    ):
        searcher.search_weights(weights)
    load_into_engine(folder, engine, url)


def test_a_client_that_is_not_installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for engine, package, extra in [
        ("opensearch", "opensearch-py", "opensearch"),
        ("elasticsearch", "elasticsearch", "elasticsearch"),
        ("milvus", "pymilvus", "milvus"),
        ("qdrant", "qdrant-client", "qdrant"),
        ("vespa", "pyvespa", "vespa"),
    ]:

        def missing(module: str, found: Any = live.importlib.import_module) -> Any:
            if not module.startswith("lsr."):
                raise ImportError(module)
            return found(module)

        monkeypatch.setattr(live.importlib, "import_module", missing)
        sentence = (
            f"needs {package}, which is not installed; install it with: pip install 'lsr-search[{extra}]'"
        )
        with pytest.raises(UserError, match=re.escape(sentence)):
            load_into_engine(folder, engine, "http://127.0.0.1:9")
        monkeypatch.undo()


def test_what_takes_files_only(folder: Path) -> None:
    for engine in ("anserini", "ciff"):
        with pytest.raises(UserError, match="is loaded from files; name a folder for them with -o"):
            load_into_engine(folder, engine, "http://127.0.0.1:9")


def test_vespa_is_asked_in_whole_numbers(folder: Path, weights: Any, tmp_path: Path) -> None:
    pytest.importorskip("vespa", reason="pyvespa, the client")
    export_index(folder, "vespa", tmp_path / "out")
    lines = (tmp_path / "out" / "feed-00000.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line)["fields"] for line in lines]

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/search/"
            assert (body["ranking"], body["summary"]) == ("impacts", "ids")
            pairs = {t: int(w) for t, w in re.findall(r"\[(\d+),(\d+)\]", body["yql"])}
            if not pairs:
                assert body["yql"] == "select id from my_papers where false"
            scores = [(sum(w * row["impacts"].get(t, 0) for t, w in pairs.items()), row) for row in rows]
            # Vespa orders equal scores as it likes.
            best = sorted(scores, key=lambda item: (-item[0], -item[1]["number"]))[: body["hits"]]
            children = [
                {"relevance": float(score), "fields": {"id": row["id"], "number": row["number"]}}
                for score, row in best
                if score
            ]
            content = json.dumps({"root": {"children": children} if children else {}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        with lsr.Searcher(folder) as ours, EngineSearcher(folder, "vespa", url) as theirs:
            for expected, found in zip(
                ours.search_weights(weights, 60), theirs.search_weights(weights, 60), strict=True
            ):
                assert found.documents.tolist() == expected.documents.tolist()
                assert found.scores == pytest.approx(expected.scores, rel=1e-6)
        with pytest.raises(UserError, match="Vespa is loaded from files"):
            load_into_engine(folder, "vespa", url)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
