"""``lsr add``, ``update``, ``delete`` and ``compact``, as a person runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def more(tmp_path: Path) -> Path:
    path = tmp_path / "more.jsonl"
    rows = [
        {"_id": "bread", "title": "Rye", "text": "Rye flour makes a dark, dense loaf with electricity."},
        {"_id": "tides", "title": "Tides", "text": "The moon lifts the sea, turbines make electricity."},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def hits(lsr: Run, index: Path, query: str) -> list[str]:
    done = lsr("search", index, query, "--json")
    assert done.returncode == 0, done.stderr
    return sorted(hit["id"] for hit in json.loads(done.stdout)["results"])


def test_a_life_of_changes(lsr: Run, index: Path, more: Path) -> None:
    done = lsr("add", index, more)
    assert done.returncode == 2
    assert "'bread' is in" in done.stderr
    assert "lsr update" in done.stderr
    assert done.stderr.count("\n") == 1
    done = lsr("update", index, more)
    assert done.returncode == 0, done.stderr
    assert "Replaced 1 document of" in done.stdout
    assert "added 1 in" in done.stdout
    assert "5 documents in 2 segments" in done.stdout
    assert hits(lsr, index, "electricity") == ["bread", "solar", "tides", "wind"]
    assert hits(lsr, index, "sourdough patience") == []
    done = lsr("delete", index, "wind", "nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no document 'nowhere'" in done.stderr
    assert "--skip-missing" in done.stderr
    done = lsr("delete", index, "--ids-from", "-", "--skip-missing", "--json", stdin="wind\r\nnowhere\n\n")
    report = json.loads(done.stdout)
    assert (report["deleted"], report["documents"], report["segments"]) == (1, 4, 2)
    assert hits(lsr, index, "electricity") == ["bread", "solar", "tides"]
    done = lsr("info", index)
    assert "4 in 2 segments, 2 deleted ones still there" in done.stdout
    assert "lsr compact --refresh takes it up" in " ".join(done.stdout.split())
    facts = json.loads(lsr("info", index, "--json", "--verify").stdout)
    assert facts["deleted"] == 2
    assert facts["average_length"] != facts["weighting"]["average_length"]
    done = lsr("compact", index, "--refresh", "--json")
    compaction = json.loads(done.stdout)
    assert (compaction["segments"], compaction["removed"], compaction["documents"]) == (2, 2, 4)
    after = json.loads(lsr("info", index, "--json", "--verify").stdout)
    assert (after["segments"], after["deleted"]) == (1, 0)
    assert after["weighting"]["average_length"] == after["average_length"] == facts["average_length"]
    assert hits(lsr, index, "electricity") == ["bread", "solar", "tides"]
    done = lsr("compact", index)
    assert "4 documents in 1 segment instead of 1" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["delete", "INDEX"], "No documents are named"),
        (["delete", "INDEX", "--ids-from", "nowhere.txt"], "--ids-from nowhere.txt cannot be read"),
        (["add", "nowhere", "more.jsonl"], "There is no index at nowhere"),
        (["add", "INDEX", "nothing.jsonl"], "nothing.jsonl"),
        (["add", "INDEX", "more.jsonl", "--encoder", "elsewhere"], "elsewhere"),
        (["compact", "corpus.jsonl"], "is not an index"),
    ],
)
def test_mistakes_are_one_sentence(
    lsr: Run, index: Path, more: Path, arguments: list[str], message: str
) -> None:
    done = lsr(*[str(index) if argument == "INDEX" else argument for argument in arguments])
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_quiet_says_nothing(lsr: Run, index: Path, more: Path) -> None:
    for arguments in (["update", index, more, "--no-sync"], ["delete", index, "tides"], ["compact", index]):
        done = lsr(*arguments, "--quiet")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
