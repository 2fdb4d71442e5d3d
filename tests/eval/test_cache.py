from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from lsr.errors import UserError
from lsr.eval.cache import Cache, default_cache_folder
from lsr.eval.checksums import checksums
from lsr.eval.datasets import load_dataset

WriteBeir = Callable[..., Path]


def test_an_entry_is_made_once_and_whole(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    calls = []

    def make(draft: Path) -> None:
        calls.append(draft)
        (draft / "half").write_text("x")
        if len(calls) == 1:
            raise KeyboardInterrupt

    key = {"a": 1}
    with pytest.raises(KeyboardInterrupt):
        cache.entry("indexes", "my label/", key, make)
    assert not cache.path("indexes", "my label/", key).exists()
    place = cache.entry("indexes", "my label/", key, make)
    # The second call finds what the first left.
    assert calls[0] == calls[1]
    assert (place / "half").exists()
    assert cache.entry("indexes", "my label/", key, make) == place
    assert len(calls) == 2
    assert cache.entry("indexes", "my label/", {"a": 2}, make) != place
    cache.drop("indexes", "my label/", key)
    assert not place.exists()


def test_values_are_remembered_by_key(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert cache.remember("sums", {"x": 1}, lambda: [1]) == [1]
    assert cache.remember("sums", {"x": 2}, lambda: [2]) == [2]
    assert cache.remember("sums", {"x": 1}, lambda: [3]) == [1]


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LSR_CACHE", str(tmp_path))
    assert default_cache_folder() == tmp_path / "eval"
    monkeypatch.delenv("LSR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert default_cache_folder() == tmp_path / "x" / "lsr" / "eval"
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--no-cache"):
        Cache(tmp_path / "file" / "cache")
    with Cache.temporary() as cache:
        assert cache.folder.is_dir()
    assert not cache.folder.exists()


def test_checksums_are_of_content(write_beir: WriteBeir, tmp_path: Path) -> None:
    plain, packed = load_dataset(write_beir("plain")), load_dataset(write_beir("packed", compressed=True))
    first = checksums(plain)
    assert checksums(packed) == first
    assert (first.document_count, first.query_count, first.judgement_count) == (5, 3, 5)
    assert first.absent_documents == 0
    corpus = tmp_path / "plain" / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace("lithium", "sodium"))
    changed = checksums(load_dataset(tmp_path / "plain"))
    assert changed.documents != first.documents
    assert (changed.queries, changed.judgements) == (first.queries, first.judgements)


def test_checksums_are_remembered_until_a_file_changes(write_beir: WriteBeir, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    folder, other = write_beir("one"), write_beir("two", documents=[{"_id": "d1", "title": "", "text": "x"}])
    first, second = checksums(load_dataset(folder), cache), checksums(load_dataset(other), cache)
    assert first.documents != second.documents
    assert second.absent_documents == 4

    class NotRead(AssertionError):
        pass

    def refuse(report: object) -> object:
        raise NotRead

    dataset = load_dataset(folder)
    object.__setattr__(dataset, "documents", refuse)
    assert checksums(dataset, cache) == first
    (folder / "corpus.jsonl").unlink()
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(b'{"_id": "d1", "text": "x"}\n'))
    with pytest.raises(NotRead):
        checksums(dataset, cache)
