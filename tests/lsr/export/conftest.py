"""An index that holds what exports stumble over: odd terms and ids, empty and deleted documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lsr
from lsr.corpus import Document
from lsr.encoders.loading import load_query_encoder
from lsr.export.source import ExportSource
from lsr.index import Index

TERMS = [
    "plain",
    "Plain",
    "v1.2",
    "v1__2",
    ".",
    "two words",
    "two_words",
    'quo"te',
    "π",
    "##s",
    "%",
    "tab\tbed",
    "boundari*",
    "*",
]


def documents(count: int = 60) -> list[Document]:
    generator = np.random.default_rng(80)
    made = []
    for i in range(count):
        held = generator.choice(len(TERMS), generator.integers(1, len(TERMS)), replace=False)
        vector = {TERMS[t]: float(generator.integers(1, 255)) for t in held.tolist()}
        if i == 0:
            vector["plain"] = 255.0  # The top of the grid: codes are the weights themselves.
        fields: dict[str, Any] = {"year": 2000 + i % 5, "tags": ["a", "b"][: i % 3], "dotted.name": i}
        made.append(
            Document(
                f"d/{i} ü:{i}", f"text\x0b {i}", f"title {i}", fields, vector if i != 7 else {}, f"a:{i}"
            )
        )
    return made


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two segments, six documents deleted, one empty."""
    path = tmp_path_factory.mktemp("export") / "My Papers.index"
    made = documents()
    lsr.build_index(made[:40], path)
    lsr.add_documents(made[40:], path)
    lsr.delete_documents([made[i].id for i in (3, 4, 39, 40, 58, 59)], path)
    return path


@pytest.fixture
def source(folder: Path) -> Iterator[ExportSource]:
    with Index(folder) as index:
        assert len(index.segments) == 2
        yield ExportSource(index, load_query_encoder(index.encoder_folder))


@pytest.fixture(scope="session")
def expected() -> list[tuple[str, dict[str, int]]]:
    """The id and the codes by term of every live document, in order."""
    return [
        (d.id, {term: int(weight) for term, weight in (d.vector or {}).items()})
        for i, d in enumerate(documents())
        if i not in (3, 4, 39, 40, 58, 59)
    ]


@pytest.fixture
def weights(source: ExportSource) -> Any:
    """Queries: three, the second with a single term, the last without any."""
    from lsr.encoders.external import vectors_to_rows

    vectors = [{"plain": 1.5, "v1.2": 0.25, "π": 3.0, "##s": 0.7, "two words": 2.0}, {".": 70.0}, {}]
    return vectors_to_rows(vectors, source.index)
