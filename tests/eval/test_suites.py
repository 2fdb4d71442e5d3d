from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lsr.errors import UserError
from lsr.eval.conventions import Conventions, conventions
from lsr.eval.datasets import load_dataset, load_member, other_split
from lsr.eval.suites import DESCRIPTIONS, SUITES, Member, expand

WriteBeir = Callable[..., Path]


def test_every_member_of_every_suite_is_in_the_catalogue_with_judgements() -> None:
    import ir_datasets

    for members in SUITES.values():
        for name in members:
            dataset = ir_datasets.load(name)
            assert dataset.has_docs(), name
            assert dataset.has_queries(), name
            assert dataset.has_qrels(), name
    assert len(SUITES["beir-13"]) == 13
    assert len(SUITES["beir"]) == 13 + 12
    assert len(SUITES["nano-beir"]) == 13
    assert set(SUITES["beir-small"]) < set(SUITES["beir-13"])
    assert set(DESCRIPTIONS) <= set(SUITES)


def test_small_is_what_the_catalogue_counts_below_sixty_thousand() -> None:
    import ir_datasets

    counts = {name: ir_datasets.load(name).docs_metadata()["count"] for name in SUITES["beir-13"]}
    assert {name for name, count in counts.items() if count < 60_000} == set(SUITES["beir-small"])


def test_names_become_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    forums = expand(["cqadupstack"])
    assert len(forums) == 12
    assert {member.group for member in forums} == {"cqadupstack"}
    assert expand(["beir/scifact/test", "vaswani"]) == [Member("beir/scifact/test"), Member("vaswani")]
    (tmp_path / "beir").mkdir()
    assert expand(["beir"]) == [Member("beir")]
    with pytest.raises(UserError, match="2 of the data sets are called 'beir/nq'"):
        expand(["beir/nq", "beir-13"])


def test_folders_stand_for_sets_of_beir(tmp_path: Path, write_beir: WriteBeir) -> None:
    write_beir("scifact")
    write_beir("cqadupstack/android")
    write_beir("nano-beir/fiqa")
    write_beir("webis-touche2020")
    found = {member.source: member for member in expand(["beir", "nano-beir"], tmp_path)}
    assert found[str(tmp_path / "scifact")].catalogue_id == "beir/scifact/test"
    assert found[str(tmp_path / "webis-touche2020")].catalogue_id == "beir/webis-touche2020/v2"
    forum = found[str(tmp_path / "cqadupstack" / "android")]
    assert (forum.group, forum.catalogue_id) == ("cqadupstack", "beir/cqadupstack/android")
    assert str(tmp_path / "nano-beir" / "fiqa") in found
    assert "beir/nq" in found
    assert expand(["scifact"], tmp_path) == [Member(str(tmp_path / "scifact"))]
    loaded = load_member(forum)
    assert (loaded.name, loaded.group) == ("cqadupstack/android", "cqadupstack")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("beir/arguana", Conventions(drop_query_document=True)),
        ("nano-beir/quora", Conventions(drop_query_document=True)),
        ("quora", Conventions(drop_query_document=True)),
        ("beir/scifact/test", Conventions()),
        ("msmarco-passage/dev/small", Conventions()),
        ("msmarco-passage/trec-dl-2019/judged", Conventions(relevant_from=2)),
        ("msmarco-passage-v2/trec-dl-2021/judged", Conventions(relevant_from=2)),
    ],
)
def test_conventions(name: str, expected: Conventions) -> None:
    assert conventions(name) == expected


def test_a_limit_is_in_the_name_and_the_notes(write_beir: WriteBeir) -> None:
    dataset = load_dataset(write_beir("arguana"))
    limited = dataset.limited(2)
    assert limited.name == "arguana (2 of 3 queries)"
    assert [query.id for query in limited.queries] == list(limited.qrels) == ["q1", "q2"]
    assert "--limit 2: 2 of 3 judged queries" in limited.notes[-1]
    assert limited.conventions.drop_query_document
    assert dataset.limited(3) is dataset
    assert dataset.limited(None) is dataset


def test_other_splits(write_beir: WriteBeir) -> None:
    dataset = load_dataset(write_beir(qrels={"test": "q1\td1\t1\n", "dev": "q4\td5\t1\n"}))
    dev = other_split(dataset, "dev")
    assert dev is not None
    assert [query.id for query in dev.queries] == ["q4"]
    assert other_split(dataset, "train") is None
