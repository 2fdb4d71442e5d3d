"""Putting finished shards in an index's place, all at once."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from lsr.index import IndexProblem, ShardedIndex
from lsr.index.files import synchronise
from lsr.index.manifest import SHARDS
from lsr.index.sharded import ShardList


def put_in_place(built: Path, index: Path, names: Sequence[str], *, durable: bool) -> None:
    """Make the shards in the folder `built` the index `index`, instead of those that it has, if any.

    Readers have the old shards until the list of shards is replaced.

    Raises:
        IndexProblem: where the shards do not belong together, or the place was taken meanwhile.
    """
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    listed = ShardList(created, tuple(names))
    folder = index.absolute()
    if (folder / SHARDS).exists():
        for name in names:
            # Of a run that was interrupted here, some are there already.
            if (built / name).exists():
                (built / name).rename(folder / name)
        if durable:
            synchronise(folder)
        listed.write(folder, durable=durable)
        for path in folder.glob("shard-*"):
            if path.name not in listed.shards:
                shutil.rmtree(path, ignore_errors=True)
        return
    listed.write(built, durable=durable)
    # Opened once where nobody sees it yet: shards that do not fit together are never put in place.
    ShardedIndex(built).close()
    try:
        if folder.exists():
            folder.rmdir()
        built.rename(folder)
    except OSError:
        raise IndexProblem(
            f"{folder} appeared while its index was being built; choose another folder with -o."
        ) from None
    if durable:
        synchronise(folder.parent)
