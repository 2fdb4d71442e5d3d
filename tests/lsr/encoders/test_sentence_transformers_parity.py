"""The same vectors as sentence-transformers, both ways round."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import MLMTransformer, SparseStaticEmbedding, SpladePooling

from lsr.encoders import EncoderOptions, load_encoder, load_query_encoder

try:
    from sentence_transformers.base.modules import Router, Transformer
except ImportError:  # before sentence-transformers 5.4
    from sentence_transformers.models import Router, Transformer

NEW_FORM = {"transformer_task": "fill-mask"}


def documents(model, texts):
    return model.encode_document(texts, convert_to_sparse_tensor=False).numpy()


def queries(model, texts):
    return model.encode_query(texts, convert_to_sparse_tensor=False).numpy()


def check(encoder, model, texts):
    np.testing.assert_allclose(encoder.encode_documents(texts).toarray(), documents(model, texts), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_queries(texts).toarray(), queries(model, texts), atol=1e-5)


@pytest.mark.parametrize("pooling", ["max", "sum"])
@pytest.mark.parametrize("activation", ["relu", "log1p_relu"])
@pytest.mark.parametrize("max_length", [None, 8])
def test_splade(mlm_folder, texts, tmp_path, pooling, activation, max_length):
    transformer = Transformer(str(mlm_folder), **NEW_FORM)
    if max_length:
        transformer.max_seq_length = max_length
    model = SparseEncoder(modules=[transformer, SpladePooling(pooling, activation)], device="cpu")
    model.save(str(tmp_path))
    encoder = load_encoder(tmp_path)
    assert encoder.settings["kind"] == "splade"
    check(encoder, model, texts)


def test_old_module_names_prompts_and_max_active_dims(mlm_folder, texts, tmp_path):
    model = SparseEncoder(
        modules=[MLMTransformer(str(mlm_folder)), SpladePooling("max")],
        max_active_dims=6,
        prompts={"query": "the weather ", "document": "blue sky "},
        device="cpu",
    )
    model.save(str(tmp_path))
    encoder = load_encoder(tmp_path)
    assert np.diff(encoder.encode_documents(texts).indptr).max() == 6
    check(encoder, model, texts)


def router(mlm_folder, weight):
    transformer = Transformer(str(mlm_folder), **NEW_FORM)
    static = SparseStaticEmbedding(tokenizer=transformer.tokenizer, weight=weight, frozen=True)
    routes = Router.for_query_document(
        query_modules=[static], document_modules=[transformer, SpladePooling("max", "log1p_relu")]
    )
    return SparseEncoder(modules=[routes], similarity_fn_name="dot", device="cpu")


def test_router_with_static_embedding(mlm_folder, texts, tmp_path):
    model = router(mlm_folder, torch.rand(len_of(mlm_folder)) + 0.1)
    model.save(str(tmp_path / "model"))
    encoder = load_encoder(tmp_path / "model")
    assert encoder.settings["kind"] == "inference-free"
    check(encoder, model, texts)
    side = tmp_path / "side"
    side.mkdir()
    encoder.save_query_side(side)
    got = load_query_encoder(side).encode_queries(texts).toarray()
    np.testing.assert_allclose(got, queries(model, texts), atol=1e-5)


def len_of(folder):
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pooling": "sum", "activation": "double-log1p", "max_length": 12, "max_active_dims": 9},
        {"special_tokens": "zero"},
        {"kind": "splade-doc"},
    ],
    ids=["splade", "sum", "zeroed", "splade-doc"],
)
def test_ours_saved_and_loaded_by_both(mlm_folder, texts, tmp_path, settings):
    encoder = load_encoder(mlm_folder, EncoderOptions(settings=settings))
    before = encoder.encode_documents(texts), encoder.encode_queries(texts)
    encoder.save(tmp_path / "saved")
    check(encoder, SparseEncoder(str(tmp_path / "saved"), device="cpu"), texts)
    again = load_encoder(tmp_path / "saved")
    np.testing.assert_allclose(again.encode_documents(texts).toarray(), before[0].toarray(), atol=1e-6)
    np.testing.assert_allclose(again.encode_queries(texts).toarray(), before[1].toarray(), atol=1e-6)
    assert again.settings == encoder.settings


def test_opensearch_form_saved_and_loaded_by_sentence_transformers(opensearch_folder, texts, tmp_path):
    encoder = load_encoder(opensearch_folder)
    encoder.save(tmp_path / "saved")
    model = SparseEncoder(str(tmp_path / "saved"), device="cpu")
    check(encoder, model, texts)
    check(load_encoder(tmp_path / "saved"), model, texts)
