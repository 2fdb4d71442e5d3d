from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]

DOCUMENTS = [
    {
        "_id": "solar",
        "title": "Solar panels",
        "text": "Photovoltaic panels turn sunlight into electricity.",
        "year": 2020,
    },
    {
        "_id": "wind",
        "title": "Wind turbines",
        "text": "Turbines turn moving air into electricity.",
        "year": 2021,
    },
    {"_id": "bread", "title": "Sourdough", "text": "Flour, water and patience become bread.", "year": 2022},
    {"_id": "empty", "title": "", "text": ""},
]


@pytest.fixture
def lsr(tmp_path: Path) -> Run:
    """Run the command line in an empty folder, as a person would."""

    def run(
        *arguments: object, stdin: str | None = None, **options: object
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            [sys.executable, "-m", "lsr.cli.main", *map(str, arguments)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            input=stdin,
            cwd=tmp_path,
            timeout=120,
            **options,
        )

    return run


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps(document) + "\n" for document in DOCUMENTS), encoding="utf-8")
    return path


@pytest.fixture
def index(lsr: Run, corpus: Path, tmp_path: Path) -> Path:
    done = lsr("index", corpus, "-o", "an.index", "--quiet", "--encoder", "bm25")
    assert done.returncode == 0, done.stderr
    return tmp_path / "an.index"
