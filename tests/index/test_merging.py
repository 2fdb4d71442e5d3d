"""Merging: which segments, in what pieces, and what happens where it fails."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from lsr.index import DocumentRecord, Index, IndexEditor, IndexProblem, IndexWriter, editor
from lsr.index import merge_policy as policy
from lsr.index.manifest import SegmentEntry
from lsr.index.merging import merge_segments
from lsr.index.postings import WINDOW


def entry(postings: int, documents: int = 100, deleted: int = 0) -> SegmentEntry:
    return SegmentEntry("x", documents, postings, {}, deleted)


def random_rows(documents: int, seed: int, terms: int = 50) -> sparse.csr_array:
    generator = np.random.default_rng(seed)
    return sparse.random_array(
        (documents, terms), density=0.02, rng=generator, dtype=np.float32, format="csr"
    )


def make(folder: Path, sizes: list[int], **options: object) -> Path:
    """An index with one segment a size; ids count on."""
    first = 0
    for i, size in enumerate(sizes):
        records = [DocumentRecord(f"d{n}", "", f"text {n}", {"n": n}) for n in range(first, first + size)]
        if i == 0:
            with IndexWriter(folder, encoder={}, impact_maximum=1.0, **options) as writer:  # type: ignore[arg-type]
                writer.add(random_rows(size, i), records)
                writer.commit([f"t{t}" for t in range(50)])
        else:
            with IndexEditor(folder, durable=False, merge=False) as changing:
                changing.add(random_rows(size, i), records)
                changing.commit()
        first += size
    return folder


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 100)), max_size=60))
def test_the_policy_ends_in_few_segments_a_tier(sizes: list[tuple[int, int]]) -> None:
    entries = [entry(postings, deleted=deleted) for postings, deleted in sizes]
    written = 0
    while places := policy.segments_to_merge(entries):
        assert 0 <= places.start < places.stop <= len(entries)
        merged = sum(policy.live_postings(entries[i]) for i in places)
        assert merged <= policy.MOST_POSTINGS
        written += len(places)
        live = sum(entries[i].live for i in places)
        entries[places.start : places.stop] = [entry(merged, live)]
        assert written <= 10 * len(sizes) + 10
    for level in range(6):
        run: list[SegmentEntry] = []
        for one in [*entries, entry(10**12)]:
            if policy.tier(one) == level:
                run.append(one)
            elif policy.tier(one) > level:
                # What remains is too large to be merged as one.
                heaviest = policy.SMALL * policy.FACTOR**level * policy.FACTOR
                assert len(run) < policy.FACTOR or heaviest > policy.MOST_POSTINGS
                run = []


def test_adds_are_merged_seldom() -> None:
    """A thousand equal adds: few segments at any time, each posting written a few times."""
    entries: list[SegmentEntry] = []
    written, most = 0, 0
    for _ in range(1000):
        entries.append(entry(20_000))
        while places := policy.segments_to_merge(entries):
            size = sum(policy.live_postings(entries[i]) for i in places)
            written += size
            entries[places.start : places.stop] = [entry(size)]
        most = max(most, len(entries))
    assert most <= 3 * policy.FACTOR
    assert written < 4 * 1000 * 20_000


@pytest.mark.parametrize("merge_postings", [1, 100, 10**7])
@pytest.mark.parametrize("bm25", [False, True])
def test_any_pieces_give_the_same_files(tmp_path: Path, merge_postings: int, bm25: bool) -> None:
    options = {"bm25": (1.2, 0.75)} if bm25 else {}
    folder = make(tmp_path / "an.index", [300, 40, 500], **options)
    with IndexEditor(folder, durable=False, merge=False) as changing:
        changing.delete([f"d{i}" for i in range(0, 840, 3)])
        changing.commit()
    with Index(folder) as index:
        merged = {}
        for name, pieces in (("plain", 16_000_000), ("pieces", merge_postings)):
            manifest = index.manifest
            into = tmp_path / "segments" / name
            merge_segments(into, index.segments, 50, manifest.grid, manifest.weighting, merge_postings=pieces)
            merged[name] = {p.name: p.read_bytes() for p in into.iterdir() if p.suffix == ".npy"}
    assert merged["plain"] == merged["pieces"]
    assert len(merged["plain"]) >= 5


def test_windows_are_crossed(tmp_path: Path) -> None:
    folder = make(tmp_path / "an.index", [WINDOW - 1, 3, WINDOW + 5, 1])
    queries = random_rows(5, 99)
    with Index(folder) as index:
        before = index.search(queries, 50)
        with IndexEditor(folder, durable=False) as changing:
            report = changing.compact()
        assert report.segments == 4
        with Index(folder) as compacted:
            assert len(compacted.segments) == 1
            for old, new in zip(before, compacted.search(queries, 50), strict=True):
                assert old.documents.tolist() == new.documents.tolist()
                assert old.scores.tobytes() == new.scores.tobytes()


def test_a_merge_that_fails_leaves_the_change_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "an.index", [20] * 7)

    def full(folder: Path, *rest: object, **options: object) -> SegmentEntry:
        folder.mkdir()
        (folder / "offsets.npy").write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(editor, "merge_segments", full)
    with IndexEditor(folder, durable=False) as changing:
        changing.add(random_rows(1, 9), [DocumentRecord("new")])
        changes = changing.commit()
        assert changes.added == 1
        assert changes.merge_problem == "No space left on device"
    monkeypatch.undo()
    assert len(list((folder / "segments").iterdir())) == 8
    with IndexEditor(folder, durable=False) as changing:
        assert changing.index.document_count == 141
        assert changing.commit().merged == 8
    with Index(folder) as index:
        index.verify()
        assert len(index.segments) == 1
        assert index.document_numbers(["new", "d0"]).tolist() == [140, 0]


def test_damage_is_not_merged_into_a_new_checksum(tmp_path: Path) -> None:
    folder = make(tmp_path / "an.index", [50, 60])
    before = (folder / "manifest.json").read_bytes()
    with Index(folder) as index:
        path = index.segments[1].folder / "codes.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with IndexEditor(folder) as changing, pytest.raises(IndexProblem, match="checksum does not match"):
        changing.compact()
    assert (folder / "manifest.json").read_bytes() == before


def test_an_unconfirmed_change_says_that_it_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "an.index", [5])

    def unconfirmed(path: Path) -> None:
        if path == folder:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("lsr.index.files.synchronise", unconfirmed)
    with pytest.raises(IndexProblem, match="is in place, but the disk did not confirm it"):  # noqa: SIM117
        with IndexEditor(folder) as changing:
            changing.update(random_rows(1, 1), [DocumentRecord("d0", "", "new")])
            changing.commit()
    monkeypatch.undo()
    with Index(folder) as index:
        index.verify()
        assert index.documents(index.document_numbers(["d0"]))[0].text == "new"


def test_everything_deleted(tmp_path: Path) -> None:
    folder = make(tmp_path / "an.index", [5, 6])
    with IndexEditor(folder, durable=False) as changing:
        changing.delete([f"d{i}" for i in range(11)])
        assert changing.commit().merged == 2
        assert changing.compact().segments == 2
        changing.add(random_rows(3, 1), [DocumentRecord(f"d{i}") for i in range(3)])
        changing.commit()
    with Index(folder) as index:
        assert index.document_count == 3
        assert index.vocabulary()[:2] == ["t0", "t1"]


def test_a_refresh_of_learned_weights_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "an.index", [5])
    with IndexEditor(folder) as changing, pytest.raises(IndexProblem, match="nothing to refresh"):
        changing.compact(refresh=True)
