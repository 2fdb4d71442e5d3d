"""Every preset: builds, trains, overfits 32 pairs, and is saved with the same vectors."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch.nn import functional

from lsr.encoders import load_encoder, load_query_encoder
from lsr.errors import UserError
from lsr.presets import list_presets, load_preset
from lsr.training.losses.registry import build_ranking_loss, build_sparsity_penalty, build_term_loss
from lsr.training.settings import TrainingSettings

STEPS = 60
RATES = {"splade": 3e-3, "csr": 2e-2, "mistral-splade": 2e-2, "laconic": 2e-2}
SENTENCE_TRANSFORMERS = {
    "splade",
    "splade-max",
    "splade-doc",
    "inference-free",
    "inference-free-l0",
    "li-lsr",
}


def overfit(model, name, queries, documents):
    """Train until nearly every query ranks its document first; return the accuracy of the last step."""
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=RATES.get(name, 1e-2))
    query_batch, document_batch = model.tokenize_queries(queries), model.tokenize_documents(documents)
    own = torch.arange(len(queries))
    # A frozen embedding is hard to tell apart by: there the ranking loss leads.
    ranking, steps = (10.0, 150) if name == "csr" else (1.0, STEPS)
    accuracy = 0.0
    for _ in range(steps):
        query, document = model.query_side(query_batch), model.document_side(document_batch)
        scores = query.weights @ document.weights.T
        accuracy = float((scores.argmax(1) == own).float().mean())
        if accuracy >= 0.95:
            break
        loss = ranking * functional.cross_entropy(scores, own)
        loss = loss + 1e-4 * document.weights.mean(0).square().sum()
        loss = loss + sum(document.auxiliary.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return accuracy


@pytest.mark.parametrize("name", list_presets())
def test_learns_and_is_saved(name, model_of, pairs, tmp_path):
    queries, documents = pairs
    model = model_of(name)
    assert overfit(model, name, queries, documents) >= 0.9

    model.eval()
    with torch.no_grad():
        expected_queries = model.query_side(model.tokenize_queries(queries)).weights.numpy()
        expected_documents = model.document_side(model.tokenize_documents(documents)).weights.numpy()
    for weights in (expected_queries, expected_documents):
        assert weights.dtype == np.float32
        assert weights.shape == (32, model.vocabulary_size)
        assert np.isfinite(weights).all()
        assert weights.min() >= 0
        assert (weights.max(1) > 0).all()

    model.save(tmp_path / "model")
    encoder = load_encoder(tmp_path / "model")
    assert (tmp_path / "model" / "modules.json").is_file() == (name in SENTENCE_TRANSFORMERS)
    np.testing.assert_allclose(encoder.encode_documents(documents).toarray(), expected_documents, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_queries(queries).toarray(), expected_queries, atol=1e-5)
    assert len(encoder.vocabulary) == model.vocabulary_size
    assert encoder.fingerprint() == load_encoder(tmp_path / "model").fingerprint()

    side = tmp_path / "side"
    side.mkdir()
    encoder.save_query_side(side)
    np.testing.assert_allclose(
        load_query_encoder(side).encode_queries(queries).toarray(), expected_queries, atol=1e-5
    )

    again = type(model).load(tmp_path / "model").eval()
    with torch.no_grad():
        documents_again = again.document_side(again.tokenize_documents(documents)).weights.numpy()
        queries_again = again.query_side(again.tokenize_queries(queries)).weights.numpy()
    np.testing.assert_allclose(documents_again, expected_documents, atol=1e-5)
    np.testing.assert_allclose(queries_again, expected_queries, atol=1e-5)


@pytest.mark.parametrize("name", list_presets())
def test_file_is_complete(name):
    preset = load_preset(name)
    assert preset.title
    assert all(re.search(r"arXiv \d{4}\.\d{5}$", paper) for paper in preset.paper)
    assert type(preset.settings).from_dict(preset.settings.as_dict()) == preset.settings
    if "terms" in preset.losses:
        build_term_loss(preset.losses["terms"])
    else:
        build_ranking_loss(preset.losses["ranking"])
    build_sparsity_penalty(preset.losses.get("sparsity", {}), total_steps=100)
    TrainingSettings(**preset.training)


def test_unknown_preset_is_refused():
    with pytest.raises(UserError, match=r"no preset 'splad'; there are .*splade-max"):
        load_preset("splad")


@pytest.mark.parametrize("name", sorted(SENTENCE_TRANSFORMERS))
def test_sentence_transformers_gives_the_same_vectors(name, model_of, pairs, tmp_path):
    from sentence_transformers import SparseEncoder

    queries, documents = pairs
    model = model_of(name).eval()
    model.save(tmp_path / "model")
    peer = SparseEncoder(str(tmp_path / "model"), device="cpu")
    with torch.no_grad():
        expected_queries = model.query_side(model.tokenize_queries(queries)).weights.numpy()
        expected_documents = model.document_side(model.tokenize_documents(documents)).weights.numpy()
    got = peer.encode_document(documents, convert_to_sparse_tensor=False).numpy()
    np.testing.assert_allclose(got, expected_documents, atol=1e-5)
    got = peer.encode_query(queries, convert_to_sparse_tensor=False).numpy()
    np.testing.assert_allclose(got, expected_queries, atol=1e-5)
