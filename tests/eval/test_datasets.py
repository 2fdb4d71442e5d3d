from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lsr.corpus import ReadReport
from lsr.errors import UserError
from lsr.eval import load_dataset

WriteBeir = Callable[..., Path]


@pytest.mark.parametrize("compressed", [False, True])
def test_beir_folder(write_beir: WriteBeir, compressed: bool) -> None:
    dataset = load_dataset(write_beir("tiny", compressed=compressed))
    assert dataset.name == "tiny"
    assert [query.id for query in dataset.queries] == ["q1", "q2", "q3"]
    assert dataset.qrels["q1"] == {"d1": 2, "d3": 1}
    for _ in range(2):
        report = ReadReport()
        assert [document.id for document in dataset.documents(report)] == ["d1", "d2", "d3", "d4", "d5"]
        assert report.documents == 5
    assert dataset.notes == ()


def test_split(write_beir: WriteBeir) -> None:
    folder = write_beir(qrels={"dev": "q4\td5\t1\n", "train": "q1\td1\t1\n"})
    dataset = load_dataset(folder, "dev")
    assert (dataset.name, dataset.file_name) == ("tiny/dev", "tiny-dev")
    assert [query.id for query in dataset.queries] == ["q4"]
    with pytest.raises(UserError, match=r"no judgements for 'test'.*--split: dev, train"):
        load_dataset(folder)


def test_judged_queries_without_text_are_told(write_beir: WriteBeir) -> None:
    dataset = load_dataset(write_beir(qrels={"test": "q1\td1\t1\nlost\td1\t1\n"}))
    assert list(dataset.qrels) == ["q1"]
    assert "1 judged queries have no text" in dataset.notes[0]


def test_no_judged_query(write_beir: WriteBeir) -> None:
    with pytest.raises(UserError, match="no judged query"):
        load_dataset(write_beir(qrels={"test": "other\td1\t1\n"}))


def test_folders_that_are_no_data_set(tmp_path: Path, write_beir: WriteBeir) -> None:
    with pytest.raises(UserError, match=r"no corpus\.jsonl"):
        load_dataset(tmp_path)
    with pytest.raises(UserError, match=r"no judgements, qrels/test\.tsv"):
        load_dataset(write_beir(qrels={}))
    folder = write_beir("other")
    with pytest.raises(UserError, match="is a file; name the BEIR folder"):
        load_dataset(folder / "corpus.jsonl")
    (folder / "queries.jsonl").unlink()
    with pytest.raises(UserError, match=r"no queries\.jsonl"):
        load_dataset(folder)


def test_file_name_is_one_safe_part(write_beir: WriteBeir) -> None:
    folder = write_beir("a name: with, (signs)")
    assert load_dataset(folder).file_name == "a-name--with---signs"
