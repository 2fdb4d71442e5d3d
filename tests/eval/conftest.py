from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

DOCUMENTS = [
    {"_id": "d1", "title": "Batteries", "text": "A lithium battery stores energy for a phone."},
    {"_id": "d2", "title": "", "text": "Bread is baked from flour, water and yeast."},
    {"_id": "d3", "title": "Phones", "text": "A phone makes calls; its battery runs empty."},
    {"_id": "d4", "title": "Empty", "text": ""},
    {"_id": "d5", "title": "Ovens", "text": "An oven bakes bread and cake."},
]
QUERIES = [
    {"_id": "q1", "text": "phone battery"},
    {"_id": "q2", "text": "baking bread"},
    {"_id": "q3", "text": "xylophone zeppelin"},
    {"_id": "q4", "text": "never judged"},
]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td3\t1\nq2\td2\t1\nq2\td5\t0\nq3\td4\t1\n"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what a test evaluates out of the user's cache, and out of the test's own folder."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("LSR_CACHE", str(folder))
    return folder


@pytest.fixture
def write_beir(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a BEIR folder and returns it."""

    def write(
        name: str = "tiny",
        *,
        documents: list[dict[str, str]] = DOCUMENTS,
        queries: list[dict[str, str]] = QUERIES,
        qrels: dict[str, str] | None = None,
        compressed: bool = False,
    ) -> Path:
        folder = tmp_path / name
        (folder / "qrels").mkdir(parents=True)
        lines = "".join(json.dumps(document) + "\n" for document in documents).encode()
        if compressed:
            (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(lines))
        else:
            (folder / "corpus.jsonl").write_bytes(lines)
        (folder / "queries.jsonl").write_text("".join(json.dumps(query) + "\n" for query in queries))
        for split, content in ({"test": QRELS} if qrels is None else qrels).items():
            (folder / "qrels" / f"{split}.tsv").write_text(content)
        return folder

    return write


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of development data, or skip."""
    beside = Path(__file__).resolve().parents[3] / "shared"
    folder = Path(os.environ.get("LSR_SHARED", beside))
    if not (folder / "data" / "collections").is_dir():
        pytest.skip("no development data: set LSR_SHARED to a folder that holds data/collections")
    return folder
