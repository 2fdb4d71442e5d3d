"""Several systems on several data sets: means, groups, tests, what is kept, and every output."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from lsr.errors import UserError
from lsr.eval import Cache, Experiment, RunOptions, load_dataset, parse_system, read_run, run_experiment
from lsr.eval.datasets import Dataset
from lsr.eval.outputs import write_outputs
from lsr.eval.published import published_for
from lsr.eval.record import compare_with_record, read_record
from lsr.eval.systems.base import DerivedSystem, System
from lsr.eval.systems.specs import parse_fusion

WriteBeir = Callable[..., Path]


@pytest.fixture
def sets(write_beir: WriteBeir) -> list[Dataset]:
    """Two forums of a group and a set of its own, of texts that systems disagree on."""
    made = []
    for seed, name in enumerate(("one", "two", "three")):
        random = np.random.default_rng(seed)
        words = [f"w{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(60)]
        text = [" ".join(random.choice(words, random.integers(3, 40))) for _ in range(80)]
        queries = [{"_id": f"q{i}", "text": " ".join(random.choice(text[i].split(), 3))} for i in range(12)]
        qrels = "".join(f"q{i}\td{i}\t{1 + i % 2}\nq{i}\td{i + 40}\t1\n" for i in range(12))
        documents = [{"_id": f"d{i}", "title": "", "text": line} for i, line in enumerate(text)]
        folder = write_beir(name, documents=documents, queries=queries, qrels={"test": qrels})
        made.append(load_dataset(folder))
    return [replace(made[0], group="forums"), replace(made[1], group="forums"), made[2]]


def _systems() -> list[System | DerivedSystem]:
    systems: list[System | DerivedSystem] = [
        parse_system("bm25"),
        parse_system("flat=bm25,k1=0.01,b=0"),
        parse_system("bm25+rm3,documents=3"),
    ]
    systems.append(parse_fusion("rrf:bm25,flat", systems))
    systems.append(parse_fusion("mix=weighted:bm25,rrf", systems))
    return systems


def _run(sets: Sequence[Dataset], cache: Path, **options: object) -> Experiment:
    given = RunOptions(k=100, **options)  # type: ignore[arg-type]
    return run_experiment(sets, _systems(), cache=Cache(cache), options=given, settings={"datasets": []})


def test_means_groups_and_tests(sets: list[Dataset], tmp_path: Path) -> None:
    experiment = _run(sets, tmp_path / "cache")
    assert experiment.failures == []
    assert [(row.name, row.datasets) for row in experiment.rows] == [
        ("forums", ("one", "two")),
        ("three", ("three",)),
    ]
    values = {name: experiment.evaluations[name, "flat"].metrics["map"] for name in ("one", "two", "three")}
    forums = (values["one"] + values["two"]) / 2
    assert experiment.value("flat", experiment.rows[0], "map") == pytest.approx(forums)
    assert experiment.value("flat", None, "map") == pytest.approx((forums + values["three"]) / 2)
    differences = experiment.differences()
    assert {one.row for one in differences} == {"forums", "three", None}
    assert len(differences) == 4 * 3
    for one in differences:
        row = next((row for row in experiment.rows if row.name == one.row), None)
        expected = experiment.value(one.system, row, "ndcg@10") - experiment.value("bm25", row, "ndcg@10")
        assert one.comparison.test.difference == pytest.approx(expected)
        assert one.comparison.second - one.comparison.first == pytest.approx(expected)
        assert one.corrected >= one.comparison.test.randomisation
        assert one.comparison.test.interval.low <= expected <= one.comparison.test.interval.high
    interval = experiment.interval("flat", None, "ndcg@10")
    assert interval.low < experiment.value("flat", None, "ndcg@10") < interval.high
    moves = next(one for one in differences if one.system == "flat" and one.row == "three").moves
    assert moves
    for move in moves:
        assert move.document_id is not None
        assert move.first_terms
        assert move.second_terms
        assert all(term.in_query for term in move.second_terms)
        ranks = (move.first_rank or 1000, move.second_rank or 1000)
        assert (ranks[1] < ranks[0]) == (move.second > move.first)


def test_costs_of_a_fusion_are_its_parts(sets: list[Dataset], tmp_path: Path) -> None:
    experiment = _run(sets[:1], tmp_path / "cache")
    parts = [experiment.evaluations["one", name].cost for name in ("bm25", "flat")]
    fused = experiment.evaluations["one", "rrf bm25+flat"].cost
    assert fused.index_bytes == sum(part.index_bytes or 0 for part in parts)
    assert fused.postings == pytest.approx(sum(part.postings or 0 for part in parts))
    assert fused.latency is not None
    assert fused.answer is not None
    assert fused.answer.p50 > fused.latency.p50
    assert fused.latency.p50 >= max(part.latency.p50 for part in parts if part.latency)
    weights = experiment.evaluations["one", "mix"].settings["weights"]  # type: ignore[index]
    assert all(sum(pair) == pytest.approx(1) for pair in zip(*weights.values(), strict=True))


def test_what_was_found_is_kept_until_something_changes(
    sets: list[Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    first = _run(sets[:1], cache)
    assert not any(one.from_cache for one in first.evaluations.values())
    with monkeypatch.context() as patched:
        patched.setattr("lsr.eval.dataset_run.measure", lambda *_, **__: pytest.fail("searched again"))
        again = _run(sets[:1], cache)
    assert all(one.from_cache for one in again.evaluations.values())
    for key, one in first.evaluations.items():
        assert again.evaluations[key].metrics == one.metrics
        assert again.evaluations[key].cost == one.cost
    with monkeypatch.context() as patched:
        patched.setattr("lsr.retrieval.build_index", lambda *_, **__: pytest.fail("indexed again"))
        fresh = _run(sets[:1], cache, fresh=True)
        assert not any(one.from_cache for one in fresh.evaluations.values())
    # Other queries, another depth, another corpus are searched for; judgements alone are not.
    judged = replace(sets[0], qrels={query: {"d3": 1} for query in sets[0].qrels})
    kept = _run([judged], cache)
    assert kept.evaluations["one", "bm25"].from_cache
    assert kept.evaluations["one", "bm25"].metrics != first.evaluations["one", "bm25"].metrics
    assert not _run([sets[0].limited(5)], cache).evaluations["one (5 of 12 queries)", "bm25"].from_cache
    corpus = tmp_path / "one" / "corpus.jsonl"
    corpus.write_text(corpus.read_text() + '{"_id": "new", "title": "", "text": "waa wab"}\n')
    assert not _run(sets[:1], cache).evaluations["one", "bm25"].from_cache


def test_an_interrupted_suite_goes_on(
    sets: list[Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lsr.eval.dataset_run as module

    calls = []

    def interrupted(engine: object, dataset: Dataset, *arguments: object, **options: object) -> object:
        calls.append(dataset.name)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return measure(engine, dataset, *arguments, **options)  # type: ignore[arg-type]

    measure = module.measure
    monkeypatch.setattr(module, "measure", interrupted)
    partial = _run(sets, tmp_path / "cache")
    assert partial.interrupted
    assert [record.name for record in partial.datasets] == ["one"]
    whole = _run(sets, tmp_path / "cache")
    assert not whole.interrupted
    # Three systems search each of three sets; four of the nine searches were done.
    assert len(calls) == 5 + 9 - 4
    assert [record.name for record in whole.datasets] == ["one", "two", "three"]


def test_a_set_that_fails_is_passed_over(sets: list[Dataset], tmp_path: Path) -> None:
    broken = tmp_path / "one" / "corpus.jsonl"
    broken.write_text(broken.read_text() + "{\n")
    told: list[str] = []
    experiment = run_experiment(
        sets,
        [parse_system("bm25")],
        cache=Cache(tmp_path / "cache"),
        on_failure=lambda name, reason: told.append(f"{name}: {reason}"),
    )
    assert [record.name for record in experiment.datasets] == ["two", "three"]
    assert len(told) == 1
    assert told[0].startswith("one: ")
    assert "corpus.jsonl:81" in told[0]


def test_mistakes_in_systems_come_before_any_work(sets: list[Dataset], tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    for systems, message in (
        ([parse_system("bm25"), parse_system("bm25")], "Two systems are called 'bm25'"),
        ([parse_system("./absent")], "absent"),
        ([parse_system("bm25,k2=1")], "no setting 'k2'"),
        ([], "no system"),
    ):
        with pytest.raises(UserError, match=message):
            run_experiment(sets, systems, cache=cache)
    with pytest.raises(UserError, match="--baseline other is no system"):
        run_experiment(sets, [parse_system("bm25")], cache=cache, baseline="other")


class _Page(HTMLParser):
    """Checks that tags nest, and that nothing is loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)
        if tag in ("link", "script", "img", "iframe"):
            self.loaded.append(tag)
        self.loaded += [
            value for name, value in attrs if name in ("src", "href") and value and value[0] != "#"
        ]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_output(sets: list[Dataset], tmp_path: Path) -> None:
    runs = tmp_path / "out" / "runs"
    experiment = _run(
        sets, tmp_path / "cache", run_path=lambda dataset, label: runs / f"{dataset.file_name}.{label}.trec"
    )
    experiment.failures.append(("lost <set>", "It is not there."))
    written = write_outputs(experiment, published_for(experiment), tmp_path / "out", tmp_path / "report.html")
    assert {path.name for path in written} >= {"result.json", "tables.md", "tables.tex", "report.html"}
    assert all(path.exists() for path in written)
    value = f"{experiment.value('mix', None, 'ndcg@10'):.4f}".removeprefix("0")

    page = _Page()
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page.feed(text)
    assert page.open == []
    assert page.loaded == []
    assert "url(" not in text
    assert "@import" not in text
    for part in (value, "forums", "mix", "lost <set>", "prefers-color-scheme", "Fisher"):
        assert part in page.text or part in text
    assert text == (tmp_path / "out" / "report.html").read_text(encoding="utf-8")

    plots = sorted((tmp_path / "out" / "plots").iterdir())
    assert [path.stem for path in plots] == [
        "datasets-ndcg-10",
        "quality-flops",
        "quality-latency",
        "quality-size",
    ]
    for path in plots:
        root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
        assert root.tag.endswith("svg")
    bars = ElementTree.fromstring(plots[0].read_text(encoding="utf-8")).iter(
        "{http://www.w3.org/2000/svg}rect"
    )
    assert len(list(bars)) == 3 * 5  # Two rows and the mean, five systems.

    markdown = (tmp_path / "out" / "tables.md").read_text(encoding="utf-8")
    rows = [
        line for line in markdown.splitlines() if line.startswith("| ") and value in line.replace("**", "")
    ]
    assert any(line.count("|") == 5 for line in rows)
    latex = (tmp_path / "out" / "tables.tex").read_text(encoding="utf-8")
    assert latex.count("\\begin{table*}") == latex.count("\\end{table*}") == 5 + 2 - 1
    assert value in latex
    assert not re.search(r"(?<!\\)[%_#]", latex.replace("\\%", ""))

    for path in runs.iterdir():
        assert len(read_run(path)) == 12
    record = read_record(tmp_path / "out" / "result.json")
    assert record["means"]["mix"]["ndcg@10"] == pytest.approx(experiment.value("mix", None, "ndcg@10"))
    assert len(record["datasets"][0]["checksums"]["documents"]) == 64
    assert record["environment"]["code"]["ranking_code"]
    assert record["environment"]["machine"]["cores"]
    fingerprints = {result["identity"].get("fingerprint") for result in record["results"]}
    assert len(fingerprints) == 3  # Two settings of bm25, and fusions without one.
    per_query = record["results"][0]["per_query"]
    assert np.mean(per_query["ndcg@10"]) == pytest.approx(record["results"][0]["ndcg@10"], abs=1e-5)

    repetition = compare_with_record(_run(sets, tmp_path / "cache", fresh=True), record)
    assert (repetition.same, repetition.changed) == (repetition.figures, [])
    assert repetition.figures == 3 * 5 * 4
    record["results"][0]["map"] += 0.1
    record["datasets"][0]["checksums"]["documents"] = "other"
    repetition = compare_with_record(experiment, record)
    assert repetition.same == repetition.figures - 1
    assert repetition.changed[0] == "one: other documents now"
    assert "map was" in repetition.changed[1]


def test_files_that_are_no_results(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    for content, message in (
        ("[", "not JSON"),
        ("[]", "no result"),
        ('{"format": 9, "settings": {}, "results": []}', "newer lsr"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=message):
            read_record(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_record(tmp_path / "absent.json")


def test_published_figures_need_the_same_setting(write_beir: WriteBeir, shared: Path, tmp_path: Path) -> None:
    write_beir("scifact")
    scifact = load_dataset(shared / "data" / "collections" / "scifact")
    own = load_dataset(tmp_path / "scifact")
    cache = Cache(tmp_path / "cache")

    def figures(dataset: Dataset, **options: object) -> dict[str, float]:
        given = RunOptions(k=10, **options)  # type: ignore[arg-type]
        experiment = run_experiment([dataset], [parse_system("bm25")], cache=cache, options=given)
        return {one.system: one.value for one in published_for(experiment)}

    found = figures(scifact)
    assert found["BM25 (Anserini, flat)"] == 0.6789
    assert found["SPLADE-v3 (Anserini, ONNX)"] == 0.714
    # A folder of that name with other counts, other rules, or part of the queries are other settings.
    assert figures(own) == {}
    assert figures(scifact.limited(20)) == {}
    assert figures(scifact, drop_query_document=True) == {}


def test_results_hold_no_nan(sets: list[Dataset], tmp_path: Path) -> None:
    experiment = _run(sets[:1], tmp_path / "cache")
    write_outputs(experiment, [], tmp_path / "out", None)
    json.loads((tmp_path / "out" / "result.json").read_text(), parse_constant=lambda name: pytest.fail(name))
