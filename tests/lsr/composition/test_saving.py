"""Loading other people's checkpoints to train on, and what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lsr.composition.encoder import ComposedEncoder
from lsr.composition.model import SparseModel
from lsr.encoders import EncoderOptions, load_encoder, load_query_encoder
from lsr.errors import UserError

TEXTS = ["topic1 word2 word3", "topic4 word5"]


def check(model, encoder):
    model.eval()
    with torch.no_grad():
        documents = model.document_side(model.tokenize_documents(TEXTS)).weights.numpy()
        queries = model.query_side(model.tokenize_queries(TEXTS)).weights.numpy()
    np.testing.assert_allclose(encoder.encode_documents(TEXTS).toarray(), documents, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_queries(TEXTS).toarray(), queries, atol=1e-5)


def test_a_plain_masked_language_model(folders):
    model = SparseModel.load(folders["bert"])
    assert model.settings.query.kind == "same"
    check(model, load_encoder(folders["bert"]))


def test_an_opensearch_model(folders, tmp_path):
    shutil.copytree(folders["bert"], tmp_path / "model")
    idf = {"topic1": 2.5, "word2": 0.5, "topic4": 3.0, "[CLS]": 1.0}
    (tmp_path / "model" / "idf.json").write_text(json.dumps(idf))
    model = SparseModel.load(tmp_path / "model")
    assert not model.needs_idf
    assert model.settings.document.activation == "double-log1p"
    check(model, load_encoder(tmp_path / "model"))
    # As a backbone, the file beside it gives the IDF as well.
    again = SparseModel.from_settings(model.settings.with_backbone(str(tmp_path / "model")))
    check(again, load_encoder(tmp_path / "model"))


def test_a_model_in_training_encodes_as_it_stands(model_of, tmp_path):
    model = model_of("splade-max").train()
    check(model, ComposedEncoder(model))
    encoder = ComposedEncoder(model.train())
    encoder.encode_documents(TEXTS)
    assert model.training
    before = encoder.fingerprint()
    with torch.no_grad():
        model.document.backbone.projection.bias += 1
    assert encoder.fingerprint() != before
    check(model, encoder)
    with pytest.raises(UserError, match="save it first"):
        encoder.save_query_side(tmp_path)


def test_folders_that_exist_are_not_written_over(model_of, tmp_path):
    for name in ("splade-max", "unicoil"):
        with pytest.raises(UserError, match="exists already"):
            model_of(name).save(tmp_path.parent)


def test_nothing_is_left_half_written(model_of, tmp_path, monkeypatch):
    model = model_of("unicoil")
    monkeypatch.setattr(
        "safetensors.torch.save_file", lambda *_, **__: (_ for _ in ()).throw(OSError("full"))
    )
    with pytest.raises(UserError, match=r"cannot be written \(full\)"):
        model.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_do_not_belong(model_of, tmp_path):
    model_of("unicoil").save(tmp_path / "model")
    path = tmp_path / "model" / "composition.safetensors"
    state = load_file(path)
    save_file({name: tensor for name, tensor in state.items() if "token_mlp" not in name}, path)
    with pytest.raises(UserError, match=r"does not fit .*token_mlp"):
        load_encoder(tmp_path / "model")
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read"):
        load_encoder(tmp_path / "model")


def test_options_that_do_not_fit(model_of, tmp_path):
    model_of("unicoil").save(tmp_path / "model")
    for options, message in [
        (EncoderOptions(settings={"pooling": "sum"}), "--encoder-option pooling does not fit"),
        (EncoderOptions(max_length=1000), "--max-length 1000 is more than the 64 tokens"),
        (EncoderOptions(idf="corpus"), "--idf does not fit"),
    ]:
        with pytest.raises(UserError, match=message):
            load_encoder(tmp_path / "model", options)


def test_a_query_side_refuses_a_model_that_has_changed(model_of, tmp_path):
    model_of("unicoil").save(tmp_path / "model")
    options = EncoderOptions(max_terms=3, max_length=16)
    encoder = load_encoder(tmp_path / "model", options)
    side = tmp_path / "side"
    side.mkdir()
    encoder.save_query_side(side)
    got = load_query_encoder(side).encode_queries(TEXTS).toarray()
    np.testing.assert_allclose(got, encoder.encode_queries(TEXTS).toarray(), atol=1e-6)
    path = tmp_path / "model" / "composition.safetensors"
    state = load_file(path)
    state["document.parts.token_mlp.0.bias"] += 1
    save_file(state, path)
    with pytest.raises(UserError, match="has changed since it built the index"):
        load_query_encoder(side).encode_queries(TEXTS)


def test_an_idf_that_was_never_counted_is_told(settings_of, tmp_path, caplog):
    model = SparseModel.from_settings(settings_of("inference-free"))
    model.save(tmp_path / "model")
    assert "IDF was never counted" in caplog.text


def test_adapters_are_folded_in(model_of, tmp_path):
    model = model_of("mistral-splade")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.1)
    model.save(tmp_path / "model")
    names = load_file(tmp_path / "model" / "composition.safetensors").keys()
    assert not any("lora" in name or "base_layer" in name for name in names)
    encoder = load_encoder(tmp_path / "model")
    check(model, encoder)
    assert encoder.settings["document"]["lora"] is None
