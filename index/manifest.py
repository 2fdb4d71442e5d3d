"""The manifest: what an index is made of. Replacing this one file is what commits a change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lsr.index.errors import IndexProblem
from lsr.index.files import checksum, files_below
from lsr.index.grid import ImpactGrid
from lsr.index.manifest_checks import check_body
from lsr.index.weighting import Bm25Weighting

FORMAT = "lsr-index"
VERSION = 3
MANIFEST = "manifest.json"
SHARDS = "shards.json"
"""What a sharded index has instead, see `lsr.index.sharded`."""


@dataclass(frozen=True)
class FileEntry:
    """One immutable file: its path relative to the index, size in bytes and SHA-256."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class SegmentEntry:
    """One immutable segment; `quantisation` states what the impact grid cost.

    `documents` and `postings` count deleted documents too. `deletions`, where some of the documents
    are deleted, names the file that lists them, see `lsr.index.deletions`.
    """

    name: str
    documents: int
    postings: int
    quantisation: dict[str, float]
    deleted: int = 0
    deletions: str | None = None

    @property
    def live(self) -> int:
        """Documents that are not deleted."""
        return self.documents - self.deleted


@dataclass(frozen=True)
class Manifest:
    """Everything about an index that is not in its arrays.

    `encoder` describes the encoder that filled the index: its name, fingerprint and settings, and
    under ``folder`` where its query side lies.
    """

    created: str
    vocabulary_size: int
    grid: ImpactGrid
    weighting: Bm25Weighting | None
    encoder: dict[str, Any]
    segments: tuple[SegmentEntry, ...]
    files: tuple[FileEntry, ...]
    stored_texts: bool = True
    version: int = field(default=VERSION)

    def to_bytes(self) -> bytes:
        """Return the JSON text, with a checksum of itself."""
        body = {
            "format": FORMAT,
            "version": VERSION,
            "created": self.created,
            "vocabulary_size": self.vocabulary_size,
            "grid": self.grid.as_dict(),
            "weighting": self.weighting.as_dict() if self.weighting else {"kind": "impact"},
            "stored_texts": self.stored_texts,
            "encoder": self.encoder,
            "segments": [vars(segment) for segment in self.segments],
            "files": [vars(file) for file in self.files],
        }
        body["checksum"] = body_checksum(body)
        return json.dumps(body, indent=1, ensure_ascii=False).encode()

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of an index.

        Raises:
            IndexProblem: where the folder is no index, its format is newer than this program, or
                the manifest is damaged.
        """
        path = folder / MANIFEST
        if not folder.exists():
            raise IndexProblem(f"There is no index at {folder}; build one with: lsr index CORPUS -o {folder}")
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            if (folder / SHARDS).exists():
                raise IndexProblem(
                    f"{folder} is a sharded index, which is searched but not changed; change the corpus and build it "
                    "again with lsr index --ray."
                ) from None
            raise IndexProblem(
                f"{folder} is not an index (it has no {MANIFEST}); build one with: lsr index CORPUS -o INDEX"
            ) from None
        except OSError as error:
            raise IndexProblem(f"{path} cannot be read: {error.strerror}.") from None
        damaged = IndexProblem(f"{path} is damaged; build the index again.")
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            raise damaged from None
        if not isinstance(body, dict) or body.get("format") != FORMAT:
            raise IndexProblem(f"{folder} is not an index: {MANIFEST} is not of the format {FORMAT!r}.")
        version = body.get("version")
        if not isinstance(version, int) or version < 1:
            raise damaged
        if version > VERSION:
            raise IndexProblem(
                f"{folder} has index format {version}, and this program reads formats up to {VERSION}; "
                "update it with: pip install --upgrade lsr-search"
            )
        if body.pop("checksum", None) != body_checksum(body):
            raise damaged
        try:
            check_body(body)
            return cls._from_body(body)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise damaged from None

    @classmethod
    def _from_body(cls, body: dict[str, Any]) -> Manifest:
        weighting = dict(body["weighting"])
        kind = weighting.pop("kind")
        if kind not in ("impact", "bm25"):
            raise ValueError(kind)
        files = tuple(FileEntry(**entry) for entry in body["files"])
        segments = tuple(SegmentEntry(**entry) for entry in body["segments"])
        return cls(
            created=body["created"],
            vocabulary_size=int(body["vocabulary_size"]),
            grid=ImpactGrid(**body["grid"]),
            weighting=Bm25Weighting(**weighting) if kind == "bm25" else None,
            encoder=dict(body["encoder"]),
            segments=segments,
            files=files,
            stored_texts=bool(body["stored_texts"]),
            version=body["version"],
        )


def body_checksum(body: dict[str, Any]) -> str:
    """Return a SHA-256, in hex, of JSON values."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def file_entry(folder: Path, path: Path) -> FileEntry:
    """Describe a file of an index, with its checksum."""
    return FileEntry(path.relative_to(folder).as_posix(), path.stat().st_size, checksum(path))


def file_entries(folder: Path, below: Path) -> tuple[FileEntry, ...]:
    """Describe the files of a sub-folder of an index."""
    return tuple(file_entry(folder, path) for path in files_below(below))


def verify_files(folder: Path, files: Iterable[FileEntry]) -> None:
    """Compare every byte of some files of an index with its checksum.

    Raises:
        IndexProblem: naming the first file that changed.
    """
    for file in files:
        path = folder / file.path
        try:
            same = checksum(path) == file.sha256
        except OSError as error:
            raise IndexProblem(f"{path} cannot be read: {error.strerror}.") from None
        if not same:
            raise IndexProblem(f"{path} is damaged: its checksum does not match; build the index again.")
