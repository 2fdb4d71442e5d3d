"""What every engine's export offers, and which engines there are."""

from __future__ import annotations

import importlib
import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from scipy import sparse

from lsr.errors import UserError
from lsr.export.source import ExportSource

ENGINES = {
    "anserini": "lsr.export.anserini:Anserini",
    "ciff": "lsr.export.ciff:Ciff",
    "elasticsearch": "lsr.export.feature_fields:Elasticsearch",
    "milvus": "lsr.export.milvus:Milvus",
    "opensearch": "lsr.export.feature_fields:OpenSearch",
    "qdrant": "lsr.export.qdrant:Qdrant",
    "vespa": "lsr.export.vespa:Vespa",
}

# Of an index, collection or schema: what all engines take.
_COLLECTION = re.compile(r"[a-z][a-z0-9_]{0,99}")


class Engine(ABC):
    """Writes an index's documents and queries in the form of one engine.

    Args:
        source: what is exported.
        collection: what the engine is to call it.
    """

    name: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, source: ExportSource, collection: str) -> None:
        self.source = source
        self.collection = collection
        self.notes: list[str] = []
        """What a person should know, a sentence each; grows while documents are written."""

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write the engine's files into an empty folder; memory stays bounded."""

    @abstractmethod
    def query(self, weights: sparse.csr_array, k: int) -> Any:
        """Return a query of one row as the engine takes it: JSON values, or a line of text."""

    @abstractmethod
    def guide(self) -> str:
        """Return, in Markdown, how the files are loaded and how a query is put."""


def engine_for(name: str, source: ExportSource, collection: str) -> Engine:
    """Return the engine called `name`, one of `ENGINES`."""
    module, _, kind = ENGINES[name].partition(":")
    engine: Engine = getattr(importlib.import_module(module), kind)(source, collection)
    return engine


def collection_name(folder: Path) -> str:
    """Return a name for the collection of an index, from its folder's."""
    name = re.sub(r"[^a-z0-9]+", "_", folder.resolve().stem.lower()).strip("_")
    return name[:100] if _COLLECTION.fullmatch(name[:100]) else f"lsr_{name}"[:100].rstrip("_")


def check_collection_name(name: str) -> None:
    """Refuse a name that not every engine takes.

    Raises:
        UserError: saying what a name may be.
    """
    if not _COLLECTION.fullmatch(name):
        raise UserError(
            f"--name {name!r}: a name begins with a small letter and goes on with small letters, digits and "
            "underscores, 100 at most."
        )
