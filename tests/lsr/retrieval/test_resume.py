"""An interrupted job goes on, and its index is that of a job that was not interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

import lsr.retrieval.batches as batches
from lsr.corpus import Document, ReadOptions
from lsr.encoders.base import CorpusStatistics, TermSpan
from lsr.errors import UserError
from lsr.index import Index
from lsr.retrieval import build_index
from lsr.retrieval.encoded_batches import kept_folder

_WIDTH = 50


def _documents(count: int) -> list[Document]:
    return [
        Document(f"d{i}", " ".join(f"word{(i * 7 + j * j) % 211}" for j in range(9)), metadata={"n": i})
        for i in range(count)
    ]


class _Encoder:
    """A learned encoder's contract, with counters, that counts its work."""

    name = "toy"
    weighting: Literal["impact", "frequency"] = "impact"

    def __init__(self, seed: int = 0) -> None:
        self.settings = {"kind": "splade-doc", "seed": seed}
        self.vocabulary = [f"t{i}" for i in range(_WIDTH)]
        self.cut_count = 0
        self.text_frequencies: NDArray[np.int64] = np.zeros(_WIDTH, np.int64)
        self.text_terms = sparse.csr_array((0, _WIDTH), dtype=np.float32)
        self.encoded = 0

    def encode_documents(self, texts: Sequence[str]) -> sparse.csr_array:
        self.encoded += len(texts)
        self.cut_count += sum(text.endswith("0") for text in texts)
        weights = np.zeros((len(texts), _WIDTH), np.float32)
        for row, text in enumerate(texts):
            for word in text.split():
                weights[row, int(word[4:]) % _WIDTH] += 0.3
        self.text_terms = sparse.csr_array((weights > 0.5).astype(np.float32))
        self.text_frequencies += (weights > 0.5).sum(axis=0)
        return sparse.csr_array(weights)

    def encode_queries(
        self, texts: Sequence[str], statistics: CorpusStatistics | None = None
    ) -> sparse.csr_array:
        raise NotImplementedError

    def term_spans(self, text: str) -> list[TermSpan]:
        raise NotImplementedError

    def fingerprint(self) -> str:
        return "f" * 64

    def save_query_side(self, folder: Path) -> None:
        (folder / "query_encoder.json").write_text(json.dumps(self.settings))


def _contents(folder: Path) -> dict[str, Any]:
    """All that an index holds, less the names that are drawn by chance and the time."""
    with Index(folder) as index:
        documents = index.documents(range(index.document_count))
        terms = np.arange(index.vocabulary_size)
        return {
            "arrays": [
                getattr(postings, name).tobytes()
                for postings in index.postings
                for name in ("offsets", "codes", "run_windows", "run_starts", "term_runs")
            ],
            "documents": documents,
            "fields": index.fields,
            "terms": index.terms(terms),
            "text_frequencies": index.text_document_frequencies(terms).tolist(),
            "grid": index.manifest.grid,
            "weighting": index.manifest.weighting,
            "quantisation": [segment.quantisation for segment in index.manifest.segments],
        }


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BATCH_DOCUMENTS", 10)


class _Interrupted(Exception):
    pass


def _until(documents: list[Document], count: int) -> Iterator[Document]:
    yield from documents[:count]
    raise _Interrupted


@pytest.mark.parametrize("stops", [[0], [5], [10], [35], [35, 72], [100]])
@pytest.mark.parametrize("encoder", ["toy", "bm25"])
def test_an_interrupted_job_goes_on(tmp_path: Path, encoder: str, stops: list[int]) -> None:
    documents = _documents(100)

    def make() -> Any:
        return _Encoder() if encoder == "toy" else encoder

    build_index(documents, tmp_path / "whole.index", make())
    folder = tmp_path / "an.index"
    for stop in stops:
        with pytest.raises(_Interrupted):
            build_index(_until(documents, stop), folder, make(), resume=True)
        assert not folder.exists()
    last = make()
    report = build_index(documents, folder, last, resume=True)
    assert report.resumed_documents == max(stops) // 10 * 10
    if encoder == "toy":
        assert last.encoded == 100 - report.resumed_documents
        assert report.cut_documents == sum(d.text.endswith("0") for d in documents) > 0
    assert _contents(folder) == _contents(tmp_path / "whole.index")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["an.index", "whole.index"]


def _interrupt(folder: Path, encoder: Any = "bm25", **options: Any) -> None:
    with pytest.raises(_Interrupted):
        build_index(_until(_documents(100), 50), folder, encoder, resume=True, **options)


def test_without_resume_nothing_is_kept_but_what_was_is_left_until_an_index_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "an.index"
    with pytest.raises(_Interrupted):
        build_index(_until(_documents(100), 50), folder, "bm25")
    assert list(tmp_path.iterdir()) == []
    _interrupt(folder)
    with pytest.raises(_Interrupted):
        build_index(_until(_documents(100), 50), folder, "bm25")
    assert len(list(kept_folder(folder).glob("batch-*.npz"))) == 5
    build_index(_documents(100), folder, "bm25")
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"encoder": _Encoder(seed=3)}, "seed 0, now 3"),
        ({"deduplicate": "text"}, 'deduplicate null, now "text"'),
        ({"read_options": ReadOptions(skip_bad=True)}, "skip_bad false, now true"),
    ],
)
def test_another_job_is_refused(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    folder = tmp_path / "an.index"
    _interrupt(folder, _Encoder())
    options: dict[str, Any] = {"encoder": _Encoder(), **change}
    with pytest.raises(UserError) as raised:
        build_index(_documents(100), folder, resume=True, **options)
    assert told in str(raised.value)
    assert str(kept_folder(folder)) in str(raised.value)
    # The right one still goes on.
    assert build_index(_documents(100), folder, _Encoder(), resume=True).resumed_documents == 50


def test_another_corpus_is_refused_and_a_longer_one_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "an.index"
    _interrupt(folder)
    changed = _documents(100)
    changed[23] = Document("d23", "changed")
    with pytest.raises(UserError, match=r"the corpus has changed .* between the documents 'd20' and 'd29'"):
        build_index(changed, folder, "bm25", resume=True)
    assert not folder.exists()
    assert build_index(_documents(200), folder, "bm25", resume=True).resumed_documents == 50


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "pickle"])
def test_a_damaged_batch_is_encoded_anew(tmp_path: Path, damage: str) -> None:
    build_index(_documents(100), tmp_path / "whole.index", "bm25")
    folder = tmp_path / "an.index"
    _interrupt(folder)
    path = kept_folder(folder) / "batch-0000002.npz"
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        place = content.index(b"data.npy") + 200
        content[place] ^= 0xFF
        path.write_bytes(content)
    elif damage == "pickle":
        np.savez(path, data=np.array([{}], dtype=object))
    else:
        path.write_bytes(b"")
    report = build_index(_documents(100), folder, "bm25", resume=True)
    assert report.resumed_documents == 40
    assert _contents(folder) == _contents(tmp_path / "whole.index")


_KILLED = """
import os, signal, sys
from pathlib import Path
import lsr.retrieval.batches as batches
from lsr.corpus import read_corpus
from lsr.retrieval import build_index

batches.BATCH_DOCUMENTS = 10
left, folder = int(sys.argv[1]), sys.argv[3]
watched = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "sqlite3.connect", "shutil.rmtree"}


def count(event, arguments):
    global left
    if event in watched and folder in str(arguments[0]):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


sync = os.fsync


def fsync(descriptor):
    count("open", [folder])
    sync(descriptor)


os.fsync = fsync
sys.addaudithook(count)
build_index([sys.argv[2]], folder + "/an.index", "bm25", resume=True)
print(sys.argv[1], "operations are more than there are")
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX's")
@pytest.mark.parametrize("step", [41])
def test_killed_at_file_operations(tmp_path: Path, step: int) -> None:
    """Killed before its n-th file operation, n growing, and resumed each time: the same index."""
    corpus = tmp_path / "corpus.jsonl"
    lines = [json.dumps({"id": d.id, "text": d.text, **d.metadata}) for d in _documents(60)]
    corpus.write_text("\n".join(lines))
    build_index([corpus], tmp_path / "whole.index", "bm25")
    expected = _contents(tmp_path / "whole.index")
    work = tmp_path / "work"
    work.mkdir()
    kills = 0
    for operations in range(3, 10_000, step):
        done = subprocess.run(
            [sys.executable, "-c", _KILLED, str(operations), str(corpus), str(work)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        kills += 1
        if (work / "an.index").exists():
            assert _contents(work / "an.index") == expected
            break
    assert kills >= 3
    assert _contents(work / "an.index") == expected
