"""A sharded index: a folder with a list of shards, each an ordinary index, searched as one.

The shards hold consecutive documents and were built on one impact grid, one vocabulary and, under
BM25, one average length. Searching them in order therefore gives the documents, score bits and order
of one index over all documents; so do the statistics that a corpus IDF is computed from, which are
sums over shards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lsr.index.errors import IndexProblem
from lsr.index.files import replace_file
from lsr.index.index import Index
from lsr.index.manifest import SHARDS, Manifest, body_checksum, verify_files
from lsr.index.manifest_checks import is_plain_name
from lsr.index.segment import Segment, open_segments

FORMAT = "lsr-shards"
VERSION = 1


@dataclass(frozen=True)
class ShardList:
    """The shards of an index by the names of their folders, in the order of documents."""

    created: str
    shards: tuple[str, ...]

    def write(self, folder: Path, *, durable: bool = True) -> None:
        """Write the list; a reader sees the old one or this one."""
        body = {
            "format": FORMAT,
            "version": VERSION,
            "created": self.created,
            "shards": list(self.shards),
        }
        body["checksum"] = body_checksum(body)
        replace_file(folder / SHARDS, json.dumps(body, indent=1).encode(), durable=durable)

    @classmethod
    def read(cls, folder: Path) -> ShardList:
        """Read the list of a sharded index.

        Raises:
            IndexProblem: where it is missing, damaged, or newer than this program.
        """
        path = folder / SHARDS
        damaged = IndexProblem(f"{path} is damaged; build the index again.")
        try:
            body = json.loads(path.read_bytes())
        except OSError as error:
            raise IndexProblem(f"{path} cannot be read: {error.strerror}.") from None
        except (ValueError, RecursionError):
            raise damaged from None
        if not isinstance(body, dict) or body.get("format") != FORMAT:
            raise damaged
        if not isinstance(body.get("version"), int):
            raise damaged
        if body["version"] > VERSION:
            raise IndexProblem(
                f"{folder} is of a newer form than this program reads; update it with: pip install --upgrade lsr-search"
            )
        if body.pop("checksum", None) != body_checksum(body):
            raise damaged
        created, shards = body.get("created"), body.get("shards")
        if not (isinstance(created, str) and isinstance(shards, list) and shards):
            raise damaged
        if not all(is_plain_name(name) for name in shards) or len(set(shards)) < len(shards):
            raise damaged
        return cls(created, tuple(shards))


class ShardedIndex(Index):
    """All shards of an index on this machine, searched as one index.

    Raises:
        IndexProblem: as opening an index does, and where shards do not belong together.
    """

    shards: tuple[str, ...]
    """The names of the shards' folders, in the order of documents."""

    def _open(self, folder: Path, known: Mapping[str, Segment]) -> None:
        self.folder = folder
        while True:
            shards = ShardList.read(folder)
            try:
                self._open_shards(folder, shards, known)
                return
            except IndexProblem:
                # It may have been replaced, and the old shards removed, meanwhile.
                if ShardList.read(folder) == shards:
                    raise

    def _open_shards(self, folder: Path, listed: ShardList, known: Mapping[str, Segment]) -> None:
        manifests = [Manifest.read(folder / name) for name in listed.shards]
        combined = combine_manifests(listed, manifests, folder)
        segments: list[Segment] = []
        bases = [0]
        try:
            for name, manifest in zip(listed.shards, manifests, strict=True):
                below = folder / name / "segments"
                own = {key: segment for key, segment in known.items() if segment.folder.parent == below}
                segments += open_segments(folder / name, manifest, own, bases[-1])
                bases.append(bases[-1] + sum(entry.documents for entry in manifest.segments))
        except BaseException:
            for segment in segments:
                segment.store.close()
            raise
        self._segments = segments
        self._first_shard = len(manifests[0].segments)
        self.shards = listed.shards
        self.shard_bases = bases
        """The number of each shard's first document, and the bound of all."""
        self._take_up(combined)

    def refresh(self) -> Index:
        """Return the newest snapshot: this one where nothing changed, otherwise a new one."""
        listed = ShardList.read(self.folder)
        manifests = [Manifest.read(self.folder / name) for name in listed.shards]
        if combine_manifests(listed, manifests, self.folder) == self.manifest:
            return self
        newer = ShardedIndex.__new__(ShardedIndex)
        newer._open(self.folder, {segment.entry.name: segment for segment in self._segments})
        return newer

    @property
    def _segments_with_terms(self) -> Sequence[Segment]:
        """Each shard knows every term."""
        return self._segments[: self._first_shard]

    def _manifest_bytes(self) -> int:
        names = [SHARDS, *(f"{name}/manifest.json" for name in self.shards)]
        return sum((self.folder / name).stat().st_size for name in names)

    def verify(self) -> int:
        """Compare every byte with its checksum and return the number of bytes read."""
        verify_files(self.folder, self.manifest.files)
        return sum(file.bytes for file in self.manifest.files)


def combine_manifests(listed: ShardList, manifests: Sequence[Manifest], folder: Path) -> Manifest:
    """Return the manifest of all shards as one index, its files named from `folder`.

    Raises:
        IndexProblem: for a shard on another grid, of another encoder, vocabulary or weighting.
    """
    first = manifests[0]
    for name, manifest in zip(listed.shards, manifests, strict=True):
        same = (
            manifest.grid == first.grid
            and manifest.weighting == first.weighting
            and manifest.vocabulary_size == first.vocabulary_size
            and manifest.encoder.get("fingerprint") == first.encoder.get("fingerprint")
        )
        if not same:
            raise IndexProblem(
                f"{folder / name} does not belong to the other shards: it has another impact grid, weighting, vocabulary "
                "or encoder; build the index again."
            )
    files = tuple(
        replace(file, path=f"{name}/{file.path}")
        for name, manifest in zip(listed.shards, manifests, strict=True)
        for file in manifest.files
    )
    return replace(
        first,
        created=listed.created,
        encoder={**first.encoder, "folder": f"{listed.shards[0]}/{first.encoder['folder']}"},
        segments=tuple(entry for manifest in manifests for entry in manifest.segments),
        files=files,
        stored_texts=all(manifest.stored_texts for manifest in manifests),
    )


def open_index(folder: str | Path) -> Index:
    """Open an index, sharded or not.

    Raises:
        IndexProblem: where there is none, or it is damaged.
    """
    return ShardedIndex(folder) if (Path(folder) / SHARDS).exists() else Index(folder)
