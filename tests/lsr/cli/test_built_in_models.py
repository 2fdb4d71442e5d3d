"""A packed model under its built-in name, from texts to results."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lsr.cli.main import main
from lsr.encoders import EncoderOptions, load_encoder
from lsr.encoders import built_in as built_in_module
from lsr.encoders.packing import pack_encoder


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Two packed models in the place of the package's own."""
    import torch
    from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "the",
        "cat",
        "sat",
        "on",
        "mat",
        "dog",
        "ran",
        "river",
        "moon",
    ]
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(words) + "\n")
    for seed, name in enumerate(("default", "default-tiny")):
        torch.manual_seed(seed)
        folder = tmp_path / f"source-{name}"
        config = BertConfig(
            vocab_size=len(words), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=32, initializer_range=0.3,
        )  # fmt: skip
        BertForMaskedLM(config).save_pretrained(folder)
        BertTokenizerFast(vocab=str(vocabulary), vocab_file=str(vocabulary)).save_pretrained(folder)
        (folder / "idf.json").write_text(json.dumps({word: 1.0 for word in words}))
        encoder = load_encoder(folder, EncoderOptions(device="cpu", max_length=32))
        pack_encoder(encoder, tmp_path / "models" / name, settings={"idf": "corpus"})
    monkeypatch.setattr(built_in_module, "models_folder", lambda: tmp_path / "models")
    return tmp_path / "models"


def test_index_with_default_search_and_refuse_another(models, tmp_path, capsys):
    texts = tmp_path / "texts.jsonl"
    records = [{"_id": "a", "text": "the cat sat on the mat"}, {"_id": "b", "text": "the dog ran"}]
    texts.write_text("".join(json.dumps(record) + "\n" for record in records))
    index = str(tmp_path / "found.index")
    assert main(["index", str(texts), "-o", index, "--encoder", "default", "--quiet"]) == 0
    record = json.loads(next((tmp_path / "found.index").rglob("query_encoder.json")).read_text())
    assert (record["kind"], record["idf"]) == ("inference-free", "corpus")
    capsys.readouterr()
    # In a process of its own, where there is no such model and no torch is loaded.
    code = (
        "import sys; from lsr.cli.main import main\n"
        f"assert main(['search', {index!r}, 'dog ran', '--json']) == 0\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout
    assert '"b"' in found
    more = tmp_path / "more.jsonl"
    more.write_text('{"_id": "c", "text": "moon river"}\n')
    assert main(["add", index, str(more), "--encoder", "default-tiny", "--quiet"]) == 2
    assert "was filled by the encoder default, and default-tiny is not the same" in capsys.readouterr().err
    assert main(["add", index, str(more), "--quiet"]) == 0


def test_an_installation_without_the_model_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(built_in_module, "models_folder", lambda: tmp_path)
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"_id": "a", "text": "the cat"}\n')
    index = str(tmp_path / "none.index")
    assert main(["index", str(texts), "-o", index, "--encoder", "default", "--quiet"]) == 2
    assert "a model of lsr's own that this installation came without" in capsys.readouterr().err
    assert not (tmp_path / "none.index").exists()
