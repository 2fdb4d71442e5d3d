"""The one step that makes a change visible: another manifest takes the place of the old one."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lsr.index.errors import IndexProblem
from lsr.index.files import replace_file
from lsr.index.manifest import MANIFEST, VERSION, FileEntry, Manifest


def publish(folder: Path, changed: Manifest, new_files: Sequence[FileEntry], *, durable: bool) -> Manifest:
    """Replace the manifest of an index and return the new one.

    Args:
        changed: has the new segments, and still the files of the old manifest.
        new_files: those that were written for it, on the disk itself already if `durable`.

    Raises:
        OSError: where it failed and nothing changed.
        IndexProblem: where the manifest is in place and the disk did not confirm it.
    """
    manifest = replace(changed, files=(*_kept_files(changed), *new_files), version=VERSION)
    content = manifest.to_bytes()
    try:
        replace_file(folder / MANIFEST, content, durable=durable)
    except OSError as error:
        with contextlib.suppress(OSError):
            if (folder / MANIFEST).read_bytes() == content:
                raise IndexProblem(
                    f"The change of {folder} is in place, but the disk did not confirm it "
                    f"({error.strerror or error}): it may be lost if the machine stops now."
                ) from error
        raise
    return manifest


def _kept_files(manifest: Manifest) -> list[FileEntry]:
    """Return the files of a manifest that its segments still have."""
    segments = {f"segments/{entry.name}": entry for entry in manifest.segments}
    kept = []
    for file in manifest.files:
        folder, _, name = file.path.rpartition("/")
        if folder.startswith("segments/"):
            entry = segments.get(folder)
            # Files of deletions end in their token.
            token = name.rpartition("-")[2].removesuffix(".npy") if "-" in name else None
            if entry is None or (token is not None and token != entry.deletions):
                continue
        kept.append(file)
    return kept
