"""Readers in other processes while one process adds, deletes, merges and removes files.

Every document of generation g holds the term g and a term of its own slot, so that one search shows
a reader which states its snapshot mixes: a commit replaces all documents at once.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
from scipy import sparse

from lsr.index import DocumentRecord, Index, IndexEditor, IndexWriter
from lsr.index import merge_policy as policy

SLOTS = 6
GENERATIONS = 60

_READER = """
import sys
import numpy as np
from scipy import sparse
from lsr.index import Index
folder, slots, generations = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
fresh = len(sys.argv) > 4
query = sparse.csr_array(np.ones((1, generations), np.float32))
index, seen, last, states = Index(folder), 0, -1, set()
while last < generations - 1:
    hits = index.search(query, 100)[0]
    documents = index.documents(hits.documents)
    ids = sorted(d.id for d in documents)
    assert ids == sorted(f"slot{i}" for i in range(slots)), ids
    found = {int(d.text) for d in documents}
    assert len(found) == 1, found
    assert hits.documents.tolist() == sorted(hits.documents.tolist())
    generation = found.pop()
    assert generation >= last, (generation, last)
    assert index.document_count == slots
    assert index.document_frequencies(np.arange(generations)).tolist() == [
        slots * (g == generation) for g in range(generations)
    ]
    assert index.matching(f"generation = {generation}").sum() >= slots
    last, seen = generation, seen + 1
    states.add(generation)
    if fresh:
        index.close()
        index = Index(folder)
    else:
        newer = index.refresh()
        if newer is not index:
            index.close()
            index = newer
print(seen, len(states))
"""


def batch(generation: int) -> tuple[sparse.csr_array, list[DocumentRecord]]:
    weights = np.zeros((SLOTS, GENERATIONS), np.float32)
    weights[:, generation] = 1
    records = [
        DocumentRecord(f"slot{i}", "", str(generation), {"generation": generation}) for i in range(SLOTS)
    ]
    return sparse.csr_array(weights), records


def make(folder: Path) -> Path:
    with IndexWriter(folder, encoder={"name": "test"}) as writer:
        writer.add(*batch(0))
        writer.commit([f"t{i}" for i in range(GENERATIONS)])
    return folder


def test_other_processes_see_whole_states_in_order(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(policy, "FACTOR", 3)
    folder = make(tmp_path / "an.index")
    modes: list[list[str]] = [[], ["fresh"], ["fresh"]]
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", _READER, str(folder), str(SLOTS), str(GENERATIONS), *mode],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        for mode in modes
    ]
    merged = met = 0
    try:
        for generation in range(1, GENERATIONS):
            with IndexEditor(folder, durable=False) as editor:
                editor.update(*batch(generation))
                merged += editor.commit().merged
                if generation % 10 == 9:
                    editor.compact()
        for reader in readers:
            out, problem = reader.communicate(timeout=120)
            assert reader.returncode == 0, problem
            seen, states = map(int, out.split())
            assert seen >= states
            met += states
    finally:
        for reader in readers:
            reader.kill()
    assert merged > GENERATIONS
    assert met > 6  # readers met states in between, too
    # Nothing that the manifest does not name is left.
    with Index(folder) as index:
        named = {file.path for file in index.manifest.files} | {"manifest.json", "lock"}
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == named


def test_threads_search_while_the_same_process_writes(tmp_path: Path) -> None:
    folder = make(tmp_path / "an.index")
    query = sparse.csr_array(np.ones((1, GENERATIONS), np.float32))
    problems: list[str] = []
    done = threading.Event()

    def read() -> None:
        with Index(folder) as index:
            while not done.is_set():
                found = {d.text for d in index.documents(index.search(query, 100)[0].documents)}
                if found != {"0"}:
                    problems.append(f"a snapshot changed: {found}")
                    return

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for generation in range(1, 15):
        with IndexEditor(folder, durable=False) as editor:
            editor.update(*batch(generation))
            editor.commit()
    done.set()
    for thread in threads:
        thread.join()
    assert not problems


def test_an_old_snapshot_outlives_its_files(tmp_path: Path) -> None:
    folder = make(tmp_path / "an.index")
    with Index(folder) as old:
        with IndexEditor(folder) as editor:
            editor.update(*batch(7))
            editor.compact()
        query = sparse.csr_array(np.ones((1, GENERATIONS), np.float32))
        assert not any((folder / "segments" / s.entry.name).exists() for s in old.segments)
        assert old.search(query)[0].documents.tolist() == list(range(SLOTS))
        assert {d.text for d in old.documents(range(SLOTS))} == {"0"}
        assert old.matching("generation = 0").all()
        assert old.term_ids(["t7"]).tolist() == [7]
        with Index(folder) as new:
            assert new.matching("generation = 7").all()
            assert new.document_count == SLOTS
