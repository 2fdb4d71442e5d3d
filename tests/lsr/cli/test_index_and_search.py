"""The main job through the command line: index, search, explain, batches, info."""

from __future__ import annotations

import colorsys
import csv
import json
from pathlib import Path

import pytest

from lsr.cli.main import main
from lsr.corpus import python_docs
from lsr.eval.runs import read_run


def test_index_then_search(lsr, corpus: Path) -> None:  # type: ignore[no-untyped-def]
    done = lsr("index", corpus, "-o", "an.index", "--encoder", "bm25")
    assert done.returncode == 0
    assert "Indexed 4 documents with bm25" in done.stdout
    assert "1 without any term" in done.stdout
    done = lsr("search", "an.index", "electricity from sunlight")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert "Solar panels" in lines[0]
    assert "*sunlight* into *electricity*" in lines[1]
    assert lines[2].strip() == "year: 2020"
    assert "Wind turbines" in lines[3]
    assert "2 of 4 documents" in done.stdout
    assert "bread" not in done.stdout


def test_json_output_and_explanations_add_up(lsr, index: Path) -> None:  # type: ignore[no-untyped-def]
    done = lsr("search", index, "turning moving air", "--json", "--explain", "-k", "1")
    answer = json.loads(done.stdout)
    (result,) = answer["results"]
    assert result["id"] == "wind"
    assert result["rank"] == 1
    assert result["metadata"] == {"year": 2021}
    assert {term["term"] for term in result["terms"]} == {"turn", "move", "air"}
    assert sum(term["score"] for term in result["terms"]) == pytest.approx(result["score"], rel=1e-6)
    assert all(term["in_query"] and term["in_document"] for term in result["terms"])
    start, end = result["marks"][0]
    assert result["snippet"][start:end].lower().startswith("turn")


@pytest.mark.parametrize("algorithm", ["auto", "exhaustive", "blockmax", "vectorised"])
def test_every_algorithm_answers_and_says_what_it_read(lsr, index: Path, algorithm: str) -> None:  # type: ignore[no-untyped-def]
    plain = json.loads(lsr("search", index, "turning moving air", "--json").stdout)
    assert "segments" not in plain
    done = lsr("search", index, "turning moving air", "--json", "--explain", "--algorithm", algorithm)
    answer = json.loads(done.stdout)
    assert [hit["score"] for hit in answer["results"]] == [hit["score"] for hit in plain["results"]]
    (cost,) = answer["segments"]
    # So small a segment has no block maxima.
    assert cost["algorithm"] == ("exhaustive" if algorithm in ("exhaustive", "blockmax") else "vectorised")
    assert (cost["postings"], cost["blocks"]) == (4, 0)
    shown = lsr("search", index, "turning moving air", "--explain", "--algorithm", algorithm).stdout
    assert f"{cost['algorithm']}: 4 postings read" in shown
    assert json.loads(lsr("info", index, "--json").stdout)["terms_with_block_maxima"] == [0]


def test_a_wanted_recall(lsr, index: Path) -> None:  # type: ignore[no-untyped-def]
    exact, found = (lsr("search", index, "moving air", "--json", "--recall", share) for share in ("1", ".9"))
    assert exact.returncode == found.returncode == 0
    assert json.loads(found.stdout)["results"] == json.loads(exact.stdout)["results"]
    refused = lsr("search", index, "moving air", "--recall", "95")
    assert refused.returncode == 2
    assert "'95' is not a share above 0 and at most 1" in refused.stderr


def test_index_json_report(lsr, corpus: Path) -> None:  # type: ignore[no-untyped-def]
    report = json.loads(lsr("index", corpus, "-o", "an.index", "--json", "--encoder", "bm25").stdout)
    assert report["documents"] == 4
    assert report["empty_documents"] == 1
    assert report["encoder"] == "bm25"


def test_a_query_nobody_answers(lsr, index: Path) -> None:  # type: ignore[no-untyped-def]
    done = lsr("search", index, "zeppelin")
    assert done.returncode == 0
    assert "No document holds any term" in done.stdout
    assert json.loads(lsr("search", index, "", "--json").stdout)["results"] == []


def test_prompt_answers_until_the_input_ends(lsr, index: Path) -> None:  # type: ignore[no-untyped-def]
    done = lsr("search", index, "-k", "1", stdin="bread\n\nwind\n")
    assert done.returncode == 0
    assert done.stdout.index("Sourdough") < done.stdout.index("Wind turbines")


@pytest.mark.parametrize("form", ["jsonl", "tsv"])
def test_batches_write_a_run(lsr, index: Path, tmp_path: Path, form: str) -> None:  # type: ignore[no-untyped-def]
    queries = tmp_path / f"queries.{form}"
    if form == "jsonl":
        queries.write_text('{"_id": "q1", "text": "electricity"}\n{"_id": "q2", "text": "zeppelin"}\n')
    else:
        queries.write_text("q1\telectricity\nq2\tzeppelin\n")
    done = lsr("search", index, "--queries", queries, "--run", "out.trec", "-k", "5")
    assert done.returncode == 0
    assert "1 queries have no results" in done.stdout
    run = read_run(tmp_path / "out.trec")
    assert set(run) == {"q1"}
    assert set(run["q1"]) == {"solar", "wind"}


def test_external_vectors(lsr, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    vectors = [
        {"id": "a", "contents": "about cats", "vector": {"cat": 2.5, "feline": 1.25}},
        {"id": "b", "contents": "about dogs", "vector": {"dog": 2.0, "feline": 0.5}},
    ]
    (tmp_path / "vectors.jsonl").write_text("".join(json.dumps(v) + "\n" for v in vectors))
    assert lsr("index", "vectors.jsonl", "-o", "v.index", "--impact-bits", "16").returncode == 0
    results = json.loads(lsr("search", "v.index", "feline feline dog", "--json").stdout)["results"]
    assert [(r["id"], round(r["score"], 3)) for r in results] == [("b", 3.0), ("a", 2.5)]
    (tmp_path / "q.jsonl").write_text('{"id": "q", "text": "", "vector": {"cat": 2.0, "unheard": 9}}\n')
    assert lsr("search", "v.index", "--queries", "q.jsonl", "--run", "r.trec").returncode == 0
    assert read_run(tmp_path / "r.trec")["q"]["a"] == pytest.approx(5.0, rel=1e-4)


def test_info_and_verify(lsr, index: Path) -> None:  # type: ignore[no-untyped-def]
    done = lsr("info", index, "--verify")
    assert done.returncode == 0
    assert "bytes match their checksums" in done.stdout
    facts = json.loads(lsr("info", index, "--json").stdout)
    assert facts["documents"] == 4
    assert facts["encoder"]["name"] == "bm25"
    assert facts["bytes"]["total"] == sum(p.stat().st_size for p in index.rglob("*") if p.is_file())


def test_standard_input_and_several_sources(lsr, corpus: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "cheese.md").write_text("# Gouda\n\nA cheese from Holland.\n")
    done = lsr(
        "index", "-", "notes", "-o", "an.index", "--json", "--encoder", "bm25", stdin=corpus.read_text()
    )
    assert json.loads(done.stdout)["documents"] == 5
    results = json.loads(lsr("search", "an.index", "dutch cheese", "--json").stdout)["results"]
    assert [result["id"] for result in results] == ["cheese.md"]


def test_overwrite_replaces(lsr, index: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "other.jsonl").write_text('{"id": "new", "text": "electricity"}\n')
    assert (
        lsr("index", "other.jsonl", "-o", index, "--overwrite", "--quiet", "--encoder", "bm25").returncode
        == 0
    )
    results = json.loads(lsr("search", index, "electricity", "--json").stdout)["results"]
    assert [result["id"] for result in results] == ["new"]


def test_a_lexical_search_loads_nothing_heavy(index: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    import subprocess
    import sys

    code = (
        "import sys; from lsr.cli.main import main; main(['search', sys.argv[1], 'electricity'])\n"
        "heavy = {'torch', 'transformers', 'numba', 'pyarrow', 'pandas', 'ranx'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code, str(index)], check=True, capture_output=True, cwd=tmp_path)


@pytest.mark.slow
def test_demo(lsr, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    done = lsr("demo")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("search python-docs.index") >= 3
    assert lsr("demo", "--json").returncode == 0  # a second one replaces the first


def test_demo_over_one_module_shows_what_words_do_not_find(  # type: ignore[no-untyped-def]
    tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(python_docs, "_C_MODULES", ())
    sources = [(module.__name__, Path(module.__file__)) for module in (colorsys, csv)]
    monkeypatch.setattr(python_docs, "list_sources", lambda: sources)
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--quiet", "--json"]) == 0
    last = json.loads(capsys.readouterr().out)["answers"][-1]
    assert last == {
        "query": "convert colours",
        "ids": ["colorsys"],
        "bm25": last["bm25"],
        "shares_a_word": False,
    }
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    assert "No word of the query stands in that text" in out
    assert "+ expansion of the document" in out


def test_deduplicated_and_resumed_by_the_command(lsr, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    lines = [{"id": str(i), "text": f"the same  text {' ' * i}" if i < 5 else f"text {i}"} for i in range(8)]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = lsr("index", "c.jsonl", "-o", "c.index", "--deduplicate", "text", "--resume", "--encoder", "bm25")
    assert done.returncode == 0, done.stderr
    assert "Indexed 4 documents" in done.stdout
    assert "note: 4 with the text of an earlier document left out." in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.index", "c.jsonl"]
    (tmp_path / ".d.index.encoded").mkdir()
    (tmp_path / ".d.index.encoded" / "job.json").write_text('{"format": 1}')
    done = lsr("index", "c.jsonl", "-o", "d.index", "--resume", "--encoder", "bm25")
    assert done.returncode == 2
    assert done.stderr.startswith("lsr: --resume: the interrupted job that would build d.index was another (")
