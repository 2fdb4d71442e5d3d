"""What export_parity.py asks of an engine: to take an export and answer its queries."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Found = list[tuple[str, float]]


class Reader(ABC):
    """Loads an exported folder and answers the queries in it."""

    name: str
    note = ""

    @abstractmethod
    def load(self, export: Path, work: Path) -> None:
        """Load the exported files; `work` is an empty folder to use."""

    @abstractmethod
    def answers(self, export: Path, k: int) -> dict[str, Found]:
        """Return for each query's id the ids and scores of the k best documents, best first."""


def json_lines(folder: Path, pattern: str) -> Iterator[Any]:
    for path in sorted(folder.glob(pattern)):
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)


def requests(export: Path) -> Iterator[tuple[str, Any]]:
    for line in json_lines(export, "queries.jsonl"):
        yield line["id"], line["request"]


def topics(export: Path) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield the queries of a file that repeats terms as often as they weigh."""
    with (export / "queries.tsv").open(encoding="utf-8") as file:
        for line in file:
            number, _, text = line.rstrip("\n").partition("\t")
            weights: dict[str, int] = {}
            for term in text.split():
                weights[term] = weights.get(term, 0) + 1
            yield number, weights
