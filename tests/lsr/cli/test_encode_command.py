"""``lsr encode`` as a user runs it."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys

import pytest

from lsr.cli.main import main
from lsr.corpus import read_corpus


def test_text_as_a_table(capsys):
    assert main(["encode", "batteries and battery life", "--encoder", "bm25"]) == 0
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()] == [["batteri", "2.0000"], ["life", "1.0000"]]
    assert "0 of them expansions" in err


def test_text_as_json(capsys):
    assert main(["encode", "battery life", "--json", "--quiet", "--encoder", "bm25"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == {"id": "text", "contents": "battery life", "vector": {"batteri": 1.0, "life": 1.0}}


def test_text_without_terms(capsys):
    for text in ("", "the"):
        assert main(["encode", text, "--encoder", "bm25"]) == 0
        assert capsys.readouterr().out == "no terms\n"


def test_word_that_names_a_folder_is_a_word(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("battery life")
    assert main(["encode", "notes", "--encoder", "bm25"]) == 0
    assert capsys.readouterr().out.split() == ["note", "1.0000"]
    assert main(["encode", "notes/", "--encoder", "bm25"]) == 0
    assert set(json.loads(capsys.readouterr().out)["vector"]) == {"batteri", "life"}


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.jsonl"
    rows = [{"id": str(i), "title": "Cats", "text": f"cat number {i}"} for i in range(2500)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", ["vectors.jsonl", "vectors.jsonl.gz"])
def test_file_as_anserini_vectors(corpus, tmp_path, name):
    output = tmp_path / name
    assert main(["encode", str(corpus), "-o", str(output), "--encoder", "bm25"]) == 0
    content = gzip.decompress(output.read_bytes()) if name.endswith(".gz") else output.read_bytes()
    records = [json.loads(line) for line in content.decode().splitlines()]
    assert [record["id"] for record in records] == [str(i) for i in range(2500)]
    assert records[7]["contents"] == "Cats cat number 7"
    assert records[7]["vector"] == {"cat": 2.0, "number": 1.0, "7": 1.0}
    # What lsr encode writes, lsr index reads.
    again = next(iter(read_corpus([str(output)])))
    assert again.vector == records[0]["vector"]


def test_learned_encoder(tmp_path, capsys):
    transformers = pytest.importorskip("transformers")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "dog", "bird", "##s"]
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "vocab.txt").write_text("\n".join(vocabulary))
    config = transformers.BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    model = transformers.BertForMaskedLM(config)
    model.cls.predictions.bias.data[5:] = 3.0
    model.save_pretrained(tmp_path / "m")
    transformers.BertTokenizerFast(vocab={w: i for i, w in enumerate(vocabulary)}).save_pretrained(
        tmp_path / "m"
    )
    (tmp_path / "m" / "idf.json").write_text(json.dumps({w: 1.5 for w in vocabulary}))
    options = ["--encoder", str(tmp_path / "m"), "--device", "cpu"]
    assert main(["encode", "cats", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[-2] for line in lines if not line.startswith("+")} == {"cat", "##s"}
    assert {line.split()[-2] for line in lines if line.startswith("+")} == {"dog", "bird"}
    assert main(["encode", "cats", *options, "--query", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["vector"] == {"cat": 1.5, "##s": 1.5}
    assert main(["encode", "cats " * 50, *options, "--max-length", "10"]) == 0
    assert "cut at 10 tokens" in capsys.readouterr().err


def lsr(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "lsr.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        **kwargs,
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nowhere.jsonl"], "nowhere.jsonl"),
        (["text", "--encoder", "./nowhere"], "nowhere"),
        (["text", "--encoder", "bm25", "--encoder-option", "kk=1"], "kk"),
        (["text", "--encoder", "bm25", "-o", "/nowhere/at/all.jsonl"], "/nowhere/at/all.jsonl"),
        (["text", "--encoder", "bm25", "--encoder-option", "k1"], "k1"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, arguments, named):
    result = lsr("encode", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert named in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_nothing_is_left_half_written(tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"id": "1", "text": "cat"}\n{"id": \n')
    (tmp_path / "old.jsonl").write_text("old")
    result = lsr("encode", "bad.jsonl", "-o", "old.jsonl", "--encoder", "bm25", cwd=tmp_path)
    assert result.returncode == 2
    assert "bad.jsonl" in result.stderr
    assert (tmp_path / "old.jsonl").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["bad.jsonl", "old.jsonl"]
