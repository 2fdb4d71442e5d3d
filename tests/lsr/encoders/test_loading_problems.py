"""Every way in which a model does not load is one sentence that names it."""

from __future__ import annotations

import json

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from lsr.encoders import EncoderOptions, load_encoder
from lsr.errors import UserError


def refused(source, match, **options):
    with pytest.raises(UserError, match=match) as caught:
        load_encoder(source, EncoderOptions(**options))
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")


def test_no_such_folder(tmp_path):
    refused(tmp_path / "nowhere", "no such folder")
    (tmp_path / "file").touch()
    refused(tmp_path / "file", "is a file")
    refused("a b c", "no such folder")


def test_folder_without_model(tmp_path):
    refused(tmp_path, r"config\.json")


@pytest.mark.parametrize(
    ("error", "match"),
    [
        (GatedRepoError, "gated"),
        (RepositoryNotFoundError, "neither a folder"),
        (LocalEntryNotFoundError, "cannot be reached"),
        (ConnectionError, "cannot be reached"),
    ],
)
def test_hub(monkeypatch, error, match):
    def fail(*args, **kwargs):
        raise error.__new__(error)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    refused("someone/model", match)


def test_missing_parts(mlm_copy):
    copy = mlm_copy()
    (copy / "tokenizer.json").unlink()
    refused(copy, r"tokenizer\.json")
    (copy / "model.safetensors").unlink()
    refused(copy, r"no weights")
    torch.save({}, copy / "pytorch_model.bin")
    refused(copy, "pickle")


def test_damaged_parts(mlm_copy):
    copy = mlm_copy()
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    refused(copy, "damaged|cannot be loaded")
    (copy / "model.safetensors").write_bytes(weights)
    (copy / "config.json").write_text("{")
    refused(copy, "cannot be loaded")
    (copy / "tokenizer.json").write_text("{")
    refused(copy, r"tokenizer\.json")


def test_tokenizer_of_another_model(mlm_copy):
    copy = mlm_copy()
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["another"] = 5000
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    refused(copy, "do not belong together")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ('{"zebra": 1.0}', "zebra"),
        ('{"cat": -1}', "cat"),
        ('{"cat": NaN}', "cat"),
        ('{"cat": "1"}', "cat"),
        ("[]", "JSON object"),
        ("{", "cannot be read"),
    ],
)
def test_idf_file(mlm_copy, content, match):
    copy = mlm_copy()
    (copy / "idf.json").write_text(content)
    refused(copy, match)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"k1": 1.2}, "k1"),
        ({"kind": "dense"}, "kind=dense"),
        ({"activation": "relu"}, "double-log1p"),
        ({"max_active_dims": 0}, "max_active_dims"),
    ],
)
def test_settings(mlm_folder, settings, match):
    refused(mlm_folder, match, settings=settings)


def test_lengths_and_devices(mlm_folder):
    refused(mlm_folder, "64 tokens", max_length=65)
    refused(mlm_folder, "at least 3", max_length=2)
    refused(mlm_folder, "--device", device="cuda:77")
    refused(mlm_folder, "--device", device="abacus")


@pytest.mark.parametrize(
    ("modules", "match"),
    [
        ("{", "cannot be read"),
        ([{"type": "st.Transformer", "path": ""}, {"type": "st.Pooling", "path": "1"}], "SpladePooling"),
        ([{"type": "st.Router", "path": ""}], "config"),
    ],
)
def test_other_sentence_transformers_models(mlm_copy, modules, match):
    copy = mlm_copy()
    (copy / "modules.json").write_text(modules if isinstance(modules, str) else json.dumps(modules))
    refused(copy, match)


def test_saving_never_overwrites(mlm_folder, tmp_path):
    encoder = load_encoder(mlm_folder)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    with pytest.raises(UserError, match="exists already"):
        encoder.save(tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
