from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient

import lsr
from lsr.corpus import Document
from lsr.serving import Keys, Limits, LocalIndex, Settings, create_app
from lsr.serving.protocol import GuardedProtocol

KEY = "a-key-for-writing-in-tests"
DOCUMENTS = [
    Document("solar", "Photovoltaic panels turn sunlight into electricity.", "Solar panels", {"year": 2020}),
    Document("wind", "Turbines turn moving air into electricity.", "Wind turbines", {"year": 2021}),
    Document(
        "bread", "Flour, water and patience become bread.", "Sourdough", {"year": 2022, "tags": ["food"]}
    ),
]

Serve = Callable[..., contextlib.AbstractContextManager[int]]


@pytest.fixture(scope="session")
def writing() -> dict[str, str]:
    """The headers of those who may write."""
    return {"Authorization": f"Bearer {KEY}"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of a few documents, in a place whose name must not be told."""
    path = tmp_path / "secret-place" / "notes.index"
    path.parent.mkdir()
    lsr.build_index(DOCUMENTS, path, "bm25", durable=False)
    return path


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    """An application over the index, which takes changes."""
    index = LocalIndex(folder, "notes", durable=False, patience=0.3)
    limits = Limits(body_bytes=100_000, k=50, query_characters=1_000, batch=5, documents=20)
    app = create_app({"notes": index}, Settings(limits, Keys(write=[KEY])))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def serve() -> Serve:
    """Return a context in which an application is served on a port of its own."""

    @contextlib.contextmanager
    def serving(app: Any) -> Iterator[int]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            config = uvicorn.Config(
                app,
                http=GuardedProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                timeout_graceful_shutdown=5,
                timeout_keep_alive=1,
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()
            while not server.started:
                time.sleep(0.01)
            try:
                yield listening.getsockname()[1]
            finally:
                server.should_exit = True
                thread.join()

    return serving
