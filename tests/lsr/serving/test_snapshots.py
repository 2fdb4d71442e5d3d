"""Snapshots: the newest one for every search, and none closed while it is used."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import lsr
from lsr.corpus import Document
from lsr.retrieval import Searcher
from lsr.serving.snapshots import Snapshots


def test_an_older_snapshot_lives_as_long_as_it_is_used(folder: Path) -> None:
    snapshots = Snapshots(folder, lambda: Searcher(folder))
    with snapshots.newest() as old:
        lsr.add_documents([Document("new", "brand new electricity")], folder)
        with snapshots.newest() as new:
            assert new is not old
            assert {hit.id for hit in new.search("electricity")} == {"solar", "wind", "new"}
        assert {hit.id for hit in old.search("electricity")} == {"solar", "wind"}
        lsr.compact_index(folder)
        assert {hit.id for hit in old.search("electricity")} == {"solar", "wind"}
        with snapshots.newest() as newest:
            pass
        snapshots.close()
        assert not old.index._closed
        assert newest.index._closed
    assert old.index._closed
    assert new.index._closed
    with pytest.raises(RuntimeError, match="closed"), snapshots.newest():
        pass


def test_searches_from_many_threads_while_documents_come_and_go(folder: Path) -> None:
    snapshots = Snapshots(folder, lambda: Searcher(folder))
    done = threading.Event()
    problems: list[BaseException] = []
    committed = 0

    def search() -> None:
        try:
            while not done.is_set():
                before = committed
                with snapshots.newest() as searcher:
                    hits = searcher.search("counted", 100)
                    assert len(hits) >= before
                    assert all(hit.text for hit in hits)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(12):
        lsr.add_documents([Document(f"c{n}", f"counted {n}")], folder, durable=False)
        committed = n + 1
    done.set()
    for thread in threads:
        thread.join()
    assert problems == []
    snapshots.close()
