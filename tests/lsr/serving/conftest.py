from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import lsr
from lsr.corpus import Document
from lsr.serving import Keys, LocalIndex, Settings, create_app

KEY = "a-key-for-writing-in-tests"
WRITING = {"Authorization": f"Bearer {KEY}"}
DOCUMENTS = [
    Document("solar", "Photovoltaic panels turn sunlight into electricity.", "Solar panels", {"year": 2020}),
    Document("wind", "Turbines turn moving air into electricity.", "Wind turbines", {"year": 2021}),
    Document(
        "bread", "Flour, water and patience become bread.", "Sourdough", {"year": 2022, "tags": ["food"]}
    ),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of a few documents."""
    path = tmp_path / "secret-place" / "notes.index"
    path.parent.mkdir()
    lsr.build_index(DOCUMENTS, path, "bm25")
    return path


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    """An application over the index, which takes changes."""
    app = create_app({"notes": LocalIndex(folder, "notes")}, Settings(keys=Keys(write=[KEY])))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
