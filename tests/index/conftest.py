from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy import sparse

from lsr.index import DocumentRecord, Index, IndexWriter


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Index]:
    """Build an index of rows of weights and open it."""
    made = 0

    def make(weights: sparse.csr_array, *, batch: int = 1000, **options: Any) -> Index:
        nonlocal made
        made += 1
        folder = tmp_path / f"made-{made}.index"
        with IndexWriter(folder, encoder={"name": "test"}, **options) as writer:
            for start in range(0, weights.shape[0], batch):
                part = weights[start : start + batch]
                writer.add(part, [DocumentRecord(f"d{start + i}") for i in range(part.shape[0])])
            writer.commit([f"t{i}" for i in range(weights.shape[1])])
        return Index(folder)

    return make
