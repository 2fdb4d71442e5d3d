"""Vectors against plain transformers, text by text, and the promises around them."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

from lsr.encoders import Encoder, EncoderOptions, load_encoder
from lsr.encoders.learned import LearnedEncoder
from lsr.errors import UserError

ACTIVATIONS = {
    "log1p": lambda x: torch.log1p(torch.relu(x)),
    "double-log1p": lambda x: torch.log1p(torch.log1p(torch.relu(x))),
}


def load(folder, batch_size=32, max_length=None, idf=None, max_terms=None, long_documents="cut", **settings):
    options = EncoderOptions(
        batch_size=batch_size,
        max_length=max_length,
        idf=idf,
        max_terms=max_terms,
        long_documents=long_documents,
        device="cpu",
        settings=settings,
    )
    return load_encoder(folder, options)


def plain_vectors(folder, texts, pooling="max", activation="log1p", max_length=48, zero=()):
    """Float64 logits of one text at a time: no batch, no padding, no pieces."""
    model = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float64).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = []
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=max_length, padding=False, return_tensors="pt")
        with torch.inference_mode():
            values = ACTIVATIONS[activation](model(**ids).logits[0])
        row = values.amax(0) if pooling == "max" else values.sum(0)
        row[list(zero)] = 0
        rows.append(row.numpy())
    return np.array(rows)


@pytest.mark.parametrize("pooling", ["max", "sum"])
@pytest.mark.parametrize("activation", ["log1p", "double-log1p"])
@pytest.mark.parametrize("batch_size", [1, 32])
def test_documents_equal_plain_logits(mlm_folder, texts, pooling, activation, batch_size):
    encoder = load(mlm_folder, batch_size, pooling=pooling, activation=activation)
    got = encoder.encode_documents(texts)
    expected = plain_vectors(mlm_folder, texts, pooling, activation)
    np.testing.assert_allclose(got.toarray(), expected, atol=2e-5)
    assert got.dtype == np.float32
    assert got.has_canonical_format
    assert (got.data > 0).all()
    assert got.shape == (len(texts), len(encoder.vocabulary))


def test_plain_model_is_splade_and_encodes_queries_itself(mlm_folder, texts):
    encoder = load(mlm_folder)
    assert isinstance(encoder, Encoder)
    assert encoder.settings["kind"] == "splade"
    assert encoder.weighting == "impact"
    assert (encoder.encode_queries(texts) != encoder.encode_documents(texts)).nnz == 0


def test_opensearch_form_zeroes_special_tokens_on_both_sides(opensearch_folder, texts):
    encoder = load(opensearch_folder)
    assert (encoder.settings["kind"], encoder.settings["activation"]) == ("inference-free", "double-log1p")
    got = encoder.encode_documents(texts).toarray()
    np.testing.assert_allclose(
        got, plain_vectors(opensearch_folder, texts, activation="double-log1p", zero=range(5)), atol=2e-5
    )
    idf = json.loads((opensearch_folder / "idf.json").read_text())
    query = encoder.encode_queries(["the cat the dog dogs qqq [SEP]", ""]).toarray()
    expected = np.zeros_like(query)
    for term in ("the", "cat", "dog", "##s"):
        expected[0, encoder.vocabulary.index(term)] = np.float32(idf[term])
    np.testing.assert_array_equal(query, expected)
    overridden = load(opensearch_folder, activation="log1p").encode_documents(texts).toarray()
    np.testing.assert_allclose(overridden, plain_vectors(opensearch_folder, texts, zero=range(5)), atol=2e-5)


def test_splade_doc_queries_weigh_one(mlm_folder):
    encoder = load(mlm_folder, kind="splade-doc")
    query = encoder.encode_queries(["the cat cat qqq"])
    assert sorted(encoder.vocabulary[i] for i in query.indices) == ["cat", "the"]
    assert query.data.tolist() == [1.0, 1.0]


def test_order_is_kept_and_empty_texts_are_empty(mlm_folder, texts):
    mixed = ["", *texts, " \n", *texts[::-1], "[CLS]" * 0]
    encoder = load(mlm_folder, batch_size=1)
    got = encoder.encode_documents(mixed).toarray()
    one_by_one = [encoder.encode_documents([text]).toarray()[0] for text in mixed]
    np.testing.assert_allclose(got, np.array(one_by_one), atol=2e-5)
    assert not got[0].any()
    assert not got[len(texts) + 1].any()
    assert encoder.encode_documents([]).shape == (0, len(encoder.vocabulary))


def test_cut_and_windows(mlm_folder):
    text = "the cat sat on the mat . a dog ran over the garden"
    pieces = text.split()
    cut = load(mlm_folder, max_length=8)
    expected = plain_vectors(mlm_folder, [text], max_length=8)
    np.testing.assert_allclose(cut.encode_documents([text, "cat"]).toarray()[:1], expected, atol=2e-5)
    assert cut.cut_count == 1
    windows = load(mlm_folder, max_length=8, long_documents="windows")
    parts = [" ".join(pieces[i : i + 6]) for i in range(0, len(pieces), 6)]
    expected = plain_vectors(mlm_folder, parts).max(0)
    np.testing.assert_allclose(windows.encode_documents([text, "cat"]).toarray()[0], expected, atol=2e-5)
    assert windows.cut_count == 1


def test_heaviest_terms_are_kept(mlm_folder, texts):
    whole = load(mlm_folder).encode_documents(texts).toarray()
    some = load(mlm_folder, max_terms=5).encode_documents(texts)
    assert np.diff(some.indptr).tolist() == [5] * len(texts)
    np.testing.assert_allclose(np.sort(some.data.reshape(-1, 5)), np.sort(whole)[:, -5:], rtol=1e-6)
    assert some.has_canonical_format


def test_pieces_of_documents_are_counted(opensearch_folder):
    encoder = load(opensearch_folder)
    encoder.encode_documents(["cat cat dog", "cat", ""])
    encoder.encode_documents(["the cat"])
    counts = {
        term: int(encoder.text_frequencies[encoder.vocabulary.index(term)]) for term in ("cat", "dog", "sun")
    }
    assert counts == {"cat": 3, "dog": 1, "sun": 0}


def test_buffers_prepared_ahead_give_the_same_vectors(mlm_folder, texts, monkeypatch):
    whole = load(mlm_folder)
    expected = whole.encode_documents(texts)
    monkeypatch.setattr("lsr.encoders.model_inputs._BUFFER_TEXTS", 2)
    monkeypatch.setattr(LearnedEncoder, "_on_processor", False)  # as on an accelerator
    encoder = load(mlm_folder)
    got = encoder.encode_documents(texts)
    np.testing.assert_allclose(got.toarray(), expected.toarray(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(encoder.text_frequencies, whole.text_frequencies)
    assert encoder.cut_count == whole.cut_count


def test_memory_shortage_halves_batches_and_says_so_once(mlm_folder, texts, monkeypatch, caplog):
    expected = load(mlm_folder).encode_documents(texts * 3)
    encoder = load(mlm_folder)
    forward = encoder._forward
    sizes = []

    def scarce(inputs):
        if len(inputs) > 3:
            raise torch.OutOfMemoryError("out of memory")
        sizes.append(len(inputs))
        return forward(inputs)

    monkeypatch.setattr(encoder, "_forward", scarce)
    with caplog.at_level(logging.WARNING, logger="lsr"):
        got = encoder.encode_documents(texts * 3)
    np.testing.assert_allclose(got.toarray(), expected.toarray(), atol=2e-5)
    assert max(sizes) <= 3
    assert sum("memory ran out" in record.message for record in caplog.records) == 1
    monkeypatch.setattr(encoder, "_forward", lambda inputs: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(UserError, match="--max-length"):
        encoder.encode_documents(texts)


def test_other_runtime_errors_are_not_hidden(mlm_folder, monkeypatch):
    encoder = load(mlm_folder)
    monkeypatch.setattr(encoder, "_forward", lambda inputs: (_ for _ in ()).throw(RuntimeError("shape")))
    with pytest.raises(RuntimeError, match="shape"):
        encoder.encode_documents(["cat"])


def test_vocabulary_of_250002(wide_folder, texts):
    encoder = load(wide_folder)
    got = encoder.encode_documents(texts)
    assert got.shape == (len(texts), 250_002)
    assert got.indices.max() > 2**17
    np.testing.assert_allclose(got.toarray(), plain_vectors(wide_folder, texts), atol=2e-5)


def test_fingerprint_follows_documents_only(mlm_folder, opensearch_folder, mlm_copy):
    first = load(mlm_folder).fingerprint()
    assert first == load(mlm_folder, batch_size=3).fingerprint()
    assert first != load(mlm_folder, max_length=20).fingerprint()
    assert first != load(mlm_folder, activation="double-log1p").fingerprint()
    assert load(opensearch_folder).fingerprint() == load(opensearch_folder, idf="corpus").fingerprint()
    copy = mlm_copy()
    assert first == load(copy).fingerprint()
    weights = load_file(copy / "model.safetensors")
    weights["bert.embeddings.word_embeddings.weight"][7, 0] += 1e-3
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert first != load(copy).fingerprint()


def test_weights_that_are_not_finite_are_refused(mlm_copy):
    copy = mlm_copy()
    weights = load_file(copy / "model.safetensors")
    weights["cls.predictions.bias"][9] = float("nan")
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="not finite"):
        load(copy).encode_documents(["cat"])


def test_half_precision_is_close(mlm_folder, texts):
    exact = load(mlm_folder).encode_documents(texts).toarray()
    half = load(mlm_folder, precision="bfloat16").encode_documents(texts).toarray()
    assert 0 < np.abs(exact - half).max() < 0.1
