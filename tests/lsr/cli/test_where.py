"""Fields and filters on the command line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_filter_limits_results_and_results_carry_fields(lsr: Run, index: Path) -> None:
    done = lsr("search", index, "electricity", "--json", "--where", "year > 2020")
    assert done.returncode == 0, done.stderr
    assert [(r["id"], r["metadata"]) for r in json.loads(done.stdout)["results"]] == [
        ("wind", {"year": 2021})
    ]
    shown = lsr("search", index, "electricity").stdout
    assert "year: 2020" in shown
    assert "year: 2021" in shown
    none = lsr("search", index, "electricity", "--where", "year = 2022").stdout
    assert none == "No document that the filter holds for also holds any term of this query.\n"


def test_a_filter_serves_a_file_of_queries(lsr: Run, index: Path, tmp_path: Path) -> None:
    (tmp_path / "queries.tsv").write_text("q1\telectricity\nq2\tbread\n")
    done = lsr(
        "search", index, "--queries", "queries.tsv", "--run", "run.trec", "--where", "title not like 's%'"
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[2] for line in (tmp_path / "run.trec").read_text().splitlines()] == ["wind"]


def test_a_mistake_is_one_sentence(lsr: Run, index: Path) -> None:
    done = lsr("search", index, "electricity", "--where", "yaer > 2020")
    assert done.returncode == 2
    assert done.stderr == (
        "lsr: The filter \"yaer > 2020\": there is no field 'yaer'; "
        "its fields are year (integer), id and title (text).\n"
    )


def test_info_lists_fields_with_types_inferred_from_a_table(lsr: Run, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,text,year,price,code\n1,a word,2020,4.50,007\n2,a word,2021,3,12\n")
    assert lsr("index", "t.csv", "-o", "t.index").returncode == 0
    facts = json.loads(lsr("info", "t.index", "--json").stdout)
    assert facts["fields"] == {"year": "integer", "price": "number", "code": "text"}
    assert "year (integer), price (number), code (text)" in " ".join(lsr("info", "t.index").stdout.split())
    done = lsr("search", "t.index", "word", "--json", "--where", "price >= 4 and code = '007'")
    (result,) = json.loads(done.stdout)["results"]
    assert result["metadata"] == {"year": 2020, "price": 4.5, "code": "007"}
