"""What a manifest may hold: an index may come from a stranger, and its checksum then with it.

Everything that names a file is a plain name below the index, every number is within what the format
has room for, and no segment claims more documents than its files have bytes, so that a small
manifest can't ask for much memory.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

STORE = "documents.sqlite"
"""The file of a segment that holds its documents."""

_TOKEN = re.compile(r"[0-9A-Za-z_-]{1,100}")
_PART = re.compile(r"(?!\.\.?$)[^/\\:\x00-\x1f]{1,200}")
_HASH = re.compile(r"[0-9a-f]{64}")
_MOST_DOCUMENTS = 1 << 32
_MOST = 1 << 62


def check_body(body: Mapping[str, Any]) -> None:
    """Check the JSON values of a manifest.

    Raises:
        ValueError, KeyError, TypeError: where a value is missing or not what it should be.
    """
    _require(isinstance(body["created"], str), "created")
    _require(isinstance(body["stored_texts"], bool), "stored_texts")
    _count(body["vocabulary_size"], 1 << 32)
    _numbers(body["grid"], "bits", "maximum")
    if body["weighting"]["kind"] == "bm25":
        _numbers(body["weighting"], "k1", "b", "average_length")
    _require(isinstance(body["encoder"], dict), "encoder")
    _require(_is(_TOKEN, body["encoder"]["folder"]), "the encoder's folder")
    _require(isinstance(body["files"], list) and isinstance(body["segments"], list), "files and segments")
    sizes: dict[str, int] = {}
    for file in body["files"]:
        path = file["path"]
        _require(isinstance(path, str) and all(_is(_PART, part) for part in path.split("/")), "a file's path")
        _require(_is(_HASH, file["sha256"]), "a checksum")
        _count(file["bytes"], _MOST)
        _require(path not in sizes, "a file is listed twice")
        sizes[path] = file["bytes"]
    names = set()
    for segment in body["segments"]:
        name = segment["name"]
        _require(_is(_TOKEN, name) and name not in names, "a segment's name")
        names.add(name)
        _count(segment["documents"], min(_MOST_DOCUMENTS, sizes[f"segments/{name}/{STORE}"]))
        _count(segment["postings"], _MOST)
        _numbers(segment["quantisation"], "largest_error", "mean_error", "relative_error", "saturated")
        deleted, deletions = segment.get("deleted", 0), segment.get("deletions")
        _count(deleted, segment["documents"])
        _require(deletions is None or _is(_TOKEN, deletions), "a segment's deletions")
        _require((deletions is None) == (deleted == 0), "a segment's deleted documents")


def is_plain_name(value: Any) -> bool:
    """Tell whether a value is a string of letters, digits, underscores and hyphens, such as names a folder."""
    return _is(_TOKEN, value)


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


def _is(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _count(value: Any, most: int) -> None:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{value} is no count up to {most}")


def _numbers(values: Mapping[str, Any], *names: str) -> None:
    for name in names:
        value = values[name]
        if type(value) not in (int, float) or not math.isfinite(value):
            raise ValueError(f"{name} is no number")
