"""Training pairs from JSON Lines: a query, its positive, and maybe negatives and teacher scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple

from lsr.corpus.jsonl import parse_object
from lsr.corpus.records import storable_text
from lsr.corpus.report import BadDocument, ReadReport
from lsr.corpus.streams import open_bytes, read_lines
from lsr.errors import UserError

SCORE_FIELDS = ("scores", "teacher")
_SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".ndjson", ".json")


class Pair(NamedTuple):
    """One training example.

    `scores`: a teacher's, of the positive and then of each negative; None where there are none.
    """

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    scores: tuple[float, ...] | None = None


def find_pair_files(source: str | Path) -> list[Path]:
    """Return the files that `source`, a file, a folder or a pattern such as ``train/*.jsonl.gz``, names."""
    path = Path(source).expanduser()
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.name.endswith(_SUFFIXES))
    elif path.exists():
        files = [path]
    else:
        files = sorted(Path(name) for name in glob(str(path), recursive=True) if Path(name).is_file())
    if not files:
        raise UserError(
            f"{source}: there are no training pairs; name a .jsonl file (also .gz or .zst), a folder of them "
            "or a pattern."
        )
    return files


def read_pairs(path: str | Path) -> Iterator[Pair]:
    """Yield the pairs of one file, plain, .gz or .zst; empty lines are skipped.

    A line is an object with ``query`` and ``positive``, texts, and optionally ``negatives``, a list
    of texts, and ``scores`` (or ``teacher``), a number for the positive and one for each negative.
    Other fields are left alone. Raises `UserError` with file and line for anything else.
    """
    with open_bytes(path, ReadReport()) as stream:
        for number, line in read_lines(stream, "utf-8", str(path)):
            try:
                record = parse_object(line, "utf-8")
                if record is not None:
                    yield _pair(record)
            except BadDocument as bad:
                raise UserError(f"{path}:{number}: {bad}.") from bad


def _pair(record: Mapping[str, Any]) -> Pair:
    negatives = record.get("negatives") or []
    if not isinstance(negatives, list):
        raise BadDocument("'negatives' is not a list of texts")
    return Pair(
        query=_text(record, "query"),
        positive=_text(record, "positive"),
        negatives=tuple(storable_text(text, "negatives") for text in negatives),
        scores=_scores(record, 1 + len(negatives)),
    )


def _text(record: Mapping[str, Any], name: str) -> str:
    if name not in record:
        raise BadDocument(f"has no {name!r}; a line of training data needs 'query' and 'positive'")
    text = storable_text(record[name], name)
    if not text.strip():
        raise BadDocument(f"{name!r} is empty")
    return text


def _scores(record: Mapping[str, Any], count: int) -> tuple[float, ...] | None:
    name = next((field for field in SCORE_FIELDS if record.get(field) is not None), None)
    if name is None:
        return None
    values = record[name]
    if not isinstance(values, list) or len(values) != count:
        raise BadDocument(
            f"{name!r} is not a list of {count} numbers, the positive's and one for each negative"
        )
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise BadDocument(f"{name!r} holds {value!r}, which is no finite number")
    return tuple(float(value) for value in values)
