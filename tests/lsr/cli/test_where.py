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
    assert lsr("index", "t.csv", "-o", "t.index", "--encoder", "bm25").returncode == 0
    facts = json.loads(lsr("info", "t.index", "--json").stdout)
    assert facts["fields"] == {"year": "integer", "price": "number", "code": "text"}
    assert "year (integer), price (number), code (text)" in " ".join(lsr("info", "t.index").stdout.split())
    done = lsr("search", "t.index", "word", "--json", "--where", "price >= 4 and code = '007'")
    (result,) = json.loads(done.stdout)["results"]
    assert result["metadata"] == {"year": 2020, "price": 4.5, "code": "007"}


def test_a_value_of_another_type_in_a_later_add_widens_the_field(
    lsr: Run, index: Path, tmp_path: Path
) -> None:
    (tmp_path / "b.csv").write_text("id,text,year\nb1,electricity,2023\n")
    (tmp_path / "c.csv").write_text("id,text,year\nc1,electricity,unknown\n")
    done = lsr("add", index, "b.csv")
    assert done.returncode == 0, done.stderr
    assert "note" not in done.stdout
    found = json.loads(lsr("search", index, "electricity", "--json", "--where", "year > 2020").stdout)
    assert sorted(r["id"] for r in found["results"]) == ["b1", "wind"]
    done = lsr("add", index, "c.csv")
    assert "note: the field year held values of the type integer and is text from now on" in done.stdout
    facts = json.loads(lsr("info", index, "--json").stdout)
    assert (facts["fields"], facts["segments"]) == ({"year": "text"}, 3)
    done = lsr("search", index, "electricity", "--where", "year > 2020")
    assert "year holds text, and 2020 is a number; write '2020' to compare texts" in done.stderr
    found = json.loads(lsr("search", index, "electricity", "--json", "--where", "year > '2020'").stdout)
    assert sorted(r["id"] for r in found["results"]) == ["b1", "c1", "wind"]
    assert lsr("compact", index).returncode == 0
    again = json.loads(lsr("search", index, "electricity", "--json", "--where", "year > '2020'").stdout)
    assert [(r["id"], r["score"]) for r in again["results"]] == [
        (r["id"], r["score"]) for r in found["results"]
    ]
