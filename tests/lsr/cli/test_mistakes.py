"""Mistakes: one clear sentence on standard error, exit status 2, nothing left half-written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")
not_root = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="root may read and write everything"
)


def assert_mistake(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("lsr: ")
    for word in words:
        assert word in line, line


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


CORPORA = {
    "broken JSON": (b'{"id": "a", "text": "x"}\n{"id": "b", "text": \n', ["bad.jsonl:2"]),
    "no object": (b'["a", "b"]\n', ["bad.jsonl:1"]),
    "no id": (b'{"text": "x"}\n', ["bad.jsonl:1", "--id-field"]),
    "duplicate id": (
        b'{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n',
        ["bad.jsonl:2", "'a'", "twice"],
    ),
    "text is a number": (b'{"id": "a", "text": 7}\n', ["bad.jsonl:1", "text"]),
    "text is null": (b'{"id": "a", "text": null}\n', ["bad.jsonl:1", "text"]),
    "not UTF-8": (b'{"id": "a", "text": "caf\xe9"}\n', ["bad.jsonl:1", "--encoding"]),
    "no documents": (b"\n", ["no documents"]),
    "negative weight": (b'{"id": "a", "vector": {"x": -1}}\n', ["bad.jsonl:1"]),
    "weight is NaN": (b'{"id": "a", "vector": {"x": NaN}}\n', ["bad.jsonl:1"]),
    "vectors then texts": (b'{"id": "a", "vector": {"x": 1}}\n{"id": "b", "text": "y"}\n', ["bad.jsonl:2"]),
}


@pytest.mark.parametrize("name", CORPORA)
def test_bad_corpora(lsr, tmp_path: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    content, words = CORPORA[name]
    (tmp_path / "bad.jsonl").write_bytes(content)
    encoder = [] if b'"vector"' in content else ["--encoder", "bm25"]
    assert_mistake(lsr("index", "bad.jsonl", "-o", "an.index", *encoder), *words)
    assert left(tmp_path) == {"bad.jsonl"}


def test_bad_documents_are_skipped_and_counted_on_request(lsr, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "bad.jsonl").write_text('{"id": "a", "text": "x"}\n{"id": "b"\n{"id": "c", "text": "z"}\n')
    done = lsr("index", "bad.jsonl", "-o", "an.index", "--skip-bad", "--encoder", "bm25")
    assert done.returncode == 0
    assert "Indexed 2 documents" in done.stdout
    assert "bad.jsonl:2" in done.stdout


def test_missing_corpus(lsr, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert_mistake(lsr("index", "nowhere.jsonl", "-o", "an.index", "--encoder", "bm25"), "nowhere.jsonl")
    assert_mistake(
        lsr("index", "beir/no-such-set", "-o", "an.index", "--encoder", "bm25"), "beir/no-such-set"
    )
    assert left(tmp_path) == set()


@not_root
def test_unreadable_corpus_and_unwritable_target(lsr, corpus: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    corpus.chmod(0)
    assert_mistake(lsr("index", corpus, "-o", "an.index", "--encoder", "bm25"), "corpus.jsonl", "ermission")
    corpus.chmod(0o600)
    (tmp_path / "closed").mkdir(mode=0o500)
    assert_mistake(lsr("index", corpus, "-o", "closed/an.index", "--encoder", "bm25"), "closed", "ermission")


def test_targets_that_are_taken(lsr, index: Path, corpus: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert_mistake(lsr("index", corpus, "-o", index, "--encoder", "bm25"), "exists already", "--overwrite")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("keep")
    assert_mistake(
        lsr("index", corpus, "-o", "notes", "--overwrite", "--encoder", "bm25"), "notes", "not an index"
    )
    assert_mistake(lsr("index", corpus, "-o", corpus, "--encoder", "bm25"), "not a folder")
    assert (tmp_path / "notes" / "a.txt").read_text() == "keep"


def test_unknown_encoders_and_settings(lsr, corpus: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    assert_mistake(
        lsr("index", corpus, "-o", "i", "--encoder", "no/such-model", env=offline), "no/such-model"
    )
    (tmp_path / "folder").mkdir()
    assert_mistake(lsr("index", corpus, "-o", "i", "--encoder", "folder"), "folder")
    assert_mistake(lsr("index", corpus, "-o", "i", "--encoder-option", "k9=1", "--encoder", "bm25"), "k9")
    assert_mistake(
        lsr("index", corpus, "-o", "i", "--encoder-option", "k1", "--encoder", "bm25"), "NAME=VALUE"
    )
    assert_mistake(lsr("index", corpus, "-o", "i", "--encoder-option", "k1=much", "--encoder", "bm25"), "k1")
    assert left(tmp_path) == {"corpus.jsonl", "folder"}


def test_an_encoder_that_does_not_fit_the_index(lsr, index: Path) -> None:  # type: ignore[no-untyped-def]
    same = lsr("search", index, "air", "--encoder", "bm25")
    assert same.returncode == 0, same.stderr
    other = lsr("search", index, "air", "--encoder", "bm25", "--encoder-option", "stemmer=none")
    assert_mistake(other, "an.index", "not the same")


@pytest.mark.parametrize("command", [("search", "{}", "query"), ("info", "{}")])
def test_folders_that_are_no_index(lsr, tmp_path: Path, command: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    def run(folder: str) -> subprocess.CompletedProcess[str]:
        return lsr(*[part.format(folder) for part in command])  # type: ignore[no-any-return]

    assert_mistake(run("nowhere"), "nowhere", "lsr index")
    (tmp_path / "empty").mkdir()
    assert_mistake(run("empty"), "empty", "not an index")
    (tmp_path / "empty" / "manifest.json").write_text("{")
    assert_mistake(run("empty"), "damaged")


def test_a_newer_index(lsr, index: Path) -> None:  # type: ignore[no-untyped-def]
    manifest = index / "manifest.json"
    body = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**body, "version": 99}))
    assert_mistake(lsr("search", index, "air"), "format 99", "pip install --upgrade")


def test_verify_sees_a_flipped_byte(lsr, index: Path) -> None:  # type: ignore[no-untyped-def]
    for path in sorted(index.rglob("*.npy")):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        assert_mistake(lsr("info", index, "--verify"), path.name)
        content[-1] ^= 1
        path.write_bytes(content)
    assert lsr("info", index, "--verify").returncode == 0


def test_queries_and_runs(lsr, index: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert_mistake(lsr("search", index, "--queries", "q.tsv"), "--run")
    assert_mistake(lsr("search", index, "--queries", "q.tsv", "--run", "r"), "q.tsv")
    (tmp_path / "q.tsv").write_text("no tab here\n")
    assert_mistake(lsr("search", index, "--queries", "q.tsv", "--run", "r"), "q.tsv:1")
    (tmp_path / "q.tsv").write_text("q1\tair\n")
    assert_mistake(lsr("search", index, "air", "--queries", "q.tsv", "--run", "r"), "not both")
    (tmp_path / "r").mkdir()
    assert_mistake(lsr("search", index, "--queries", "q.tsv", "--run", "r"), "folder")
    assert list((tmp_path / "r").iterdir()) == []


@posix
@pytest.mark.parametrize(("encoder", "documents"), [("bm25", 20_000), ("default-tiny", 1)])
def test_a_full_disk_leaves_nothing(tmp_path: Path, encoder: str, documents: int) -> None:
    """A limit on the size of files stands in for a disk that fills up while the index is written."""
    with (tmp_path / "corpus.jsonl").open("w") as file:
        for i in range(documents):
            file.write(json.dumps({"id": str(i), "text": f"word{i} common text number {i % 7}"}) + "\n")
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "from lsr.cli.main import main\n"
        f"sys.exit(main(['index', 'corpus.jsonl', '-o', 'an.index', '--encoder', '{encoder}']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False
    )
    assert_mistake(done, "an.index", "cannot be written")
    assert left(tmp_path) == {"corpus.jsonl"}


@posix
def test_an_interrupted_build_leaves_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "lsr.cli.main", "index", "-", "-o", "an.index"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        text=True,
        # A shell's background jobs, and what they start, ignore the signal that this is about.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdin is not None
    for i in range(5000):
        process.stdin.write(json.dumps({"id": str(i), "text": f"word{i}"}) + "\n")
    process.stdin.flush()
    deadline = time.monotonic() + 60
    while not left(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left(tmp_path) != set()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in error
    assert left(tmp_path) == set()


def test_a_moved_index_still_answers(lsr, index: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    shutil.move(index, tmp_path / "elsewhere")
    assert "Wind turbines" in lsr("search", "elsewhere", "moving air").stdout
