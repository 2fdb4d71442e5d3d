"""The defining property of every part and preset."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from lsr.composition.autoencoder import SparseAutoencoder
from lsr.composition.echo import echoed
from lsr.composition.model import SparseModel
from lsr.composition.query_table import QueryTable
from lsr.composition.settings import AutoencoderSettings, ModelSettings
from lsr.composition.side import Side
from lsr.composition.types import TokenBatch
from lsr.encoders import EncoderOptions, load_encoder

TEXTS = ["topic1 word2 word3 word2", "topic4 word5", "topic6 topic7 word8 word9 word10 word11"]


def weights_of(model, texts=TEXTS, query=False):
    model.eval()
    with torch.no_grad():
        if query:
            return model.query_side(model.tokenize_queries(texts)).weights.numpy()
        return model.document_side(model.tokenize_documents(texts)).weights.numpy()


def own_tokens(model, texts=TEXTS):
    tokenizer = model.document_tokenizer.tokenizer
    own = np.zeros((len(texts), model.vocabulary_size), dtype=bool)
    for row, text in enumerate(texts):
        own[row, tokenizer.encode(text, add_special_tokens=False).ids] = True
    return own


def changed(settings, **changes):
    return dataclasses.replace(settings, document=dataclasses.replace(settings.document, **changes))


@pytest.mark.parametrize(
    ("name", "pool", "activate"),
    [
        ("splade", torch.sum, torch.log1p),
        ("splade-max", torch.amax, torch.log1p),
        ("inference-free-l0", torch.amax, lambda x: torch.log1p(torch.log1p(x))),
    ],
)
def test_mlm_heads_are_their_formulas(name, pool, activate, model_of, folders):
    from transformers import AutoModelForMaskedLM

    model = SparseModel.from_settings(model_of(name).settings.with_backbone(folders["bert"])).eval()
    batch = model.tokenize_documents(TEXTS)
    plain = AutoModelForMaskedLM.from_pretrained(folders["bert"]).eval()
    with torch.no_grad():
        logits = plain(batch.input_ids, attention_mask=batch.attention_mask).logits
    values = activate(logits.relu()) * batch.attention_mask[..., None]
    expected = pool(values, dim=1)
    if model.settings.document.special_tokens == "zero":
        expected[:, :5] = 0
    np.testing.assert_allclose(weights_of(model), expected.numpy(), atol=1e-5)


def test_splade_doc_queries_weigh_one(model_of):
    model = model_of("splade-doc")
    assert np.array_equal(weights_of(model, query=True), own_tokens(model).astype(np.float32))
    assert not list(model.query.parameters())


def test_lexical_gate_leaves_own_tokens_only(model_of):
    model = model_of("splade-lexical")
    for query in (False, True):
        weights = weights_of(model, query=query)
        assert (weights > 0).any()
        assert not ((weights > 0) & ~own_tokens(model)).any()


def test_top_k_keeps_the_heaviest_terms(model_of, settings_of):
    model = model_of("splade-top-k")
    every = SparseModel.from_settings(changed(settings_of("splade-top-k"), top_k=None))
    documents, queries = weights_of(model), weights_of(model, query=True)
    assert (documents > 0).sum(1).max() <= 32
    assert (queries > 0).sum(1).max() <= 5
    np.testing.assert_allclose(np.sort(weights_of(every))[:, -5:], np.sort(queries)[:, -5:], atol=1e-6)


def test_efficient_splade_has_a_smaller_query_encoder_of_its_own(model_of):
    model = model_of("efficient-splade")
    documents, queries = list(model.document.parameters()), list(model.query.parameters())
    assert not {id(p) for p in documents} & {id(p) for p in queries}
    assert sum(p.numel() for p in queries) < sum(p.numel() for p in documents)


def test_fixed_idf_has_no_gradient_and_learned_tables_do(model_of, settings_of, folders, pairs):
    fixed = model_of("inference-free")
    assert not list(fixed.query.parameters())
    assert fixed.table_parameters() == []
    learnable = ModelSettings.from_dict(
        {"backbone": folders["headless"], "query": {"kind": "idf", "learnable": True}}
    )
    free = SparseModel.from_settings(learnable)
    assert free.needs_idf
    free.fit_idf(pairs[1])
    np.testing.assert_allclose(free.query.as_array()[5:], fixed.query.as_array()[5:], rtol=1e-6)
    for model in (model_of("li-lsr"), free):
        scores = (
            model.query_side(model.tokenize_queries(TEXTS)).weights
            @ model.document_side(model.tokenize_documents(TEXTS)).weights.T
        )
        scores.diagonal().sum().backward()
        (table,) = model.table_parameters()
        asked = own_tokens(model).any(0)
        assert (table.grad[asked] != 0).all()
        assert (table.grad[~asked] == 0).all()


def test_idf_of_training_documents(model_of, pairs):
    model = model_of("inference-free")
    held = own_tokens(model, pairs[1]).sum(0)
    expected = np.log1p((32 - held + 0.5) / (held + 0.5))
    np.testing.assert_allclose(model.query.as_array()[5:], expected[5:], rtol=1e-5)
    assert (model.query.as_array()[:5] == 0).all()


@pytest.mark.parametrize("name", ["unicoil", "deepimpact", "deepct", "tildev2"])
def test_token_weights_without_expansion(name, model_of):
    model = model_of(name)
    assert not ((weights_of(model) > 0) & ~own_tokens(model)).any()
    queries = weights_of(model, query=True)
    if name == "unicoil":
        # One scalar a token: repeats add up in queries, the largest counts in documents.
        batch = model.tokenize_documents(TEXTS[:1])
        states = model.document.backbone(batch)
        scalars = model.document.parts.token_mlp(states)[0, :, 0].relu().detach().numpy()
        repeated = int(batch.input_ids[0, 2])
        assert batch.input_ids[0].tolist().count(repeated) == 2
        np.testing.assert_allclose(queries[0, repeated], scalars[2] + scalars[4], rtol=1e-5)
        np.testing.assert_allclose(weights_of(model)[0, repeated], max(scalars[2], scalars[4]), rtol=1e-5)
    else:
        assert set(np.unique(queries)) == {0.0, 1.0}


def test_epic_importance_and_quality_are_in_range(model_of):
    model = model_of("epic").eval()
    gate = model.document.parts.epic
    batch = model.tokenize_documents(TEXTS)
    with torch.no_grad():
        states = model.document.backbone(batch)
        importance = gate.token_importance(states)
        quality = gate.text_quality(states[:, 0])
        projection = model.document.backbone.projection
        logits = projection(states).relu() * importance * batch.attention_mask[..., None]
        expected = logits.amax(1) * quality
        expected[:, :5] = 0
    assert (importance > 0).all()
    assert ((quality > 0) & (quality < 1)).all()
    np.testing.assert_allclose(weights_of(model), expected.numpy(), atol=1e-4)
    assert model.query.backbone is model.document.backbone


def test_sparterm_gate_is_binary_and_lets_own_tokens_through(model_of):
    model = model_of("sparterm").eval()
    with torch.no_grad():
        model.document.parts.controller.bias.normal_()
        batch = model.tokenize_documents(TEXTS)
        states = model.document.backbone(batch)[batch.attention_mask.bool()]
        own = torch.from_numpy(own_tokens(model).astype(np.float32))
        gate = model.document.parts.controller(
            states, batch.attention_mask.sum(1), model.document.backbone.projection.weight, own
        )
    assert set(gate.unique().tolist()) == {0.0, 1.0}
    assert (gate[own.bool()] == 1).all()
    ungated = weights_of(SparseModel.from_settings(changed(model.settings, gate="none")))
    kept = (gate.numpy() > 0) & (np.arange(gate.shape[1]) >= 5)
    np.testing.assert_allclose(weights_of(model), ungated * kept, atol=1e-5)


def test_sparterm_controller_learns(model_of):
    model = model_of("sparterm").train()
    model.document_side(model.tokenize_documents(TEXTS)).weights.sum().backward()
    assert model.document.parts.controller.bias.grad.abs().sum() > 0


def test_echo_pools_the_second_copy_only():
    batch = TokenBatch(torch.tensor([[7, 8, 9], [5, 6, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]]))
    twice, second = echoed(batch)
    assert twice.input_ids[0].tolist() == [7, 8, 9, 7, 8, 9]
    assert twice.input_ids[1, :4].tolist() == [5, 6, 5, 6]
    assert twice.attention_mask.tolist() == [[1] * 6, [1, 1, 1, 1, 0, 0]]
    assert second.tolist() == [[False] * 3 + [True] * 3, [False, False, True, True, False, False]]


def test_mistral_splade_pools_the_second_copy(model_of):
    model = model_of("mistral-splade").eval()
    batch = model.tokenize_documents(TEXTS[:1])
    length = batch.input_ids.shape[1]
    twice = batch.input_ids.repeat(1, 2)
    with torch.no_grad():
        states = model.document.backbone(TokenBatch(twice, torch.ones_like(twice)))
        logits = model.document.backbone.projection(states[:, length:])
    np.testing.assert_allclose(weights_of(model, TEXTS[:1]), logits.amax(1).relu().log1p(), atol=1e-5)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)


@pytest.mark.parametrize(("name", "sees"), [("laconic", True), ("mistral-splade", False)])
def test_a_later_token_changes_an_earlier_state_when_bidirectional(name, sees, model_of):
    model = model_of(name).eval()
    first, second = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[5, 6, 7, 30]])
    mask = torch.ones_like(first)
    with torch.no_grad():
        a = model.document.backbone(TokenBatch(first, mask))[0, 0]
        b = model.document.backbone(TokenBatch(second, mask))[0, 0]
    assert torch.allclose(a, b, atol=1e-6) != sees


@pytest.mark.parametrize("name", ["laconic", "mistral-splade", "unicoil", "csr", "epic", "sparterm"])
def test_a_text_does_not_depend_on_its_batch(name, model_of):
    model = model_of(name)
    together = weights_of(model)
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(weights_of(model, [text])[0], together[row], atol=1e-5)


def test_csr_keeps_exactly_k_latents_of_a_frozen_embedding(model_of):
    model = model_of("csr").train()
    assert ((weights_of(model) > 0).sum(1) == 16).all()
    output = model.train().document_side(model.tokenize_documents(TEXTS))
    assert set(output.auxiliary) == {"reconstruction", "wide_reconstruction", "dead_latents"}
    sum(output.auxiliary.values()).backward()
    assert all(parameter.grad is None for parameter in model.document.backbone.parameters())
    assert model.document.parts.autoencoder.weight.grad.abs().sum() > 0


def test_csr_auxiliary_loss_revives_dead_latents():
    torch.manual_seed(0)
    embeddings = torch.randn(32, 8).repeat(8, 1) + 0.1 * torch.randn(256, 8)
    settings = AutoencoderSettings(expansion=8, active=4, auxiliary=16, dead_after=5, dead_weight=1.0)
    autoencoder = SparseAutoencoder(8, settings)
    with torch.no_grad():
        # Half of the latents are too weak to be among the strongest four.
        autoencoder.weight[32:] *= 0.3
        for _ in range(5):
            assert autoencoder(embeddings).auxiliary["dead_latents"] == 0
        assert autoencoder(embeddings).auxiliary["dead_latents"] > 0
    dead = autoencoder.idle_batches > 5
    assert dead.sum() >= 24
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=1e-2)
    revived = torch.zeros_like(dead)
    for step in range(60):
        loss = autoencoder(embeddings).auxiliary["dead_latents"]
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            assert torch.equal(autoencoder.weight.grad.abs().sum(1) > 0, dead)
        optimizer.step()
        revived |= autoencoder.idle_batches == 0
    assert revived[dead].all()


def test_flops_dense_is_a_rectified_linear_embedding(model_of):
    model = model_of("flops-dense").eval()
    batch = model.tokenize_documents(TEXTS)
    with torch.no_grad():
        states = model.document.backbone(batch)
        mask = batch.attention_mask[..., None].float()
        mean = (states * mask).sum(1) / mask.sum(1)
        expected = model.document.parts.dense(mean).relu()
    np.testing.assert_allclose(weights_of(model), expected.numpy(), atol=1e-5)
    assert ModelSettings.from_dict(model.settings.as_dict()) == model.settings


def test_headless_backbone_starts_as_the_identity(folders, caplog):
    with caplog.at_level("WARNING", logger="lsr"):
        model = SparseModel.from_settings(ModelSettings.from_dict({"backbone": folders["headless"]}))
    assert "saved without a masked-language-model head" in caplog.text
    backbone = model.document.backbone
    embeddings = backbone.model.get_input_embeddings().weight
    assert backbone.projection.weight is embeddings
    transform = backbone.model.cls.predictions.transform.dense
    assert torch.equal(transform.weight, torch.eye(32))
    weights = weights_of(model)
    assert (weights[own_tokens(model)].mean()) > weights[~own_tokens(model)].mean()


@pytest.mark.parametrize("head", ["mlm", "cls-mlm", "token-mlp"])
@pytest.mark.parametrize("pooling", ["max", "sum"])
@pytest.mark.parametrize("activation", ["log1p", "double-log1p", "relu", "softplus", "log1p-softplus"])
@pytest.mark.parametrize("query", ["same", "binary", "table"])
def test_parts_mix_freely(head, pooling, activation, query, folders):
    settings = ModelSettings.from_dict(
        {
            "backbone": folders["bert"],
            "document": {"head": head, "pooling": pooling, "activation": activation},
            "query": {"kind": query},
        }
    )
    model = SparseModel.from_settings(settings)
    documents = model.document_side(model.tokenize_documents(TEXTS)).weights
    queries = model.query_side(model.tokenize_queries(TEXTS)).weights
    assert documents.shape == queries.shape
    assert torch.isfinite(documents).all()
    assert (documents >= 0).all()
    (queries @ documents.T).sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.document.parameters())


@pytest.mark.parametrize(
    ("backbone", "document", "query"),
    [
        ("bert", {"gate": "importance-quality", "head": "cls-mlm"}, {"kind": "same", "top_k": 3}),
        ("bert", {"gate": "controller", "activation": "softplus"}, {"kind": "idf", "learnable": True}),
        ("bert", {"gate": "lexical"}, {"kind": "separate", "encoder": {"head": "token-mlp", "echo": True}}),
        ("llama", {"head": "causal-lm", "gate": "lexical", "echo": True}, {"kind": "binary"}),
        ("llama", {"head": "token-mlp", "bidirectional": True, "layers": 3}, {"kind": "table"}),
        ("llama", {"head": "dense", "dense_pooling": "last", "dimensions": 40}, {"kind": "same"}),
        ("bert", {"head": "dense", "dense_pooling": "cls", "activation": "softplus"}, {"kind": "same"}),
        ("llama", {"head": "causal-lm", "lora": {}}, {"kind": "separate", "encoder": {"head": "causal-lm"}}),
    ],
)
def test_gates_and_backbones_mix_freely(backbone, document, query, folders, tmp_path):
    settings = ModelSettings.from_dict({"backbone": folders[backbone], "document": document, "query": query})
    model = SparseModel.from_settings(settings)
    documents = model.document_side(model.tokenize_documents(TEXTS)).weights
    queries = model.query_side(model.tokenize_queries(TEXTS)).weights
    (queries @ documents.T).sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.document.parameters())
    model.save(tmp_path / "model")
    encoder = load_encoder(tmp_path / "model")
    np.testing.assert_allclose(encoder.encode_documents(TEXTS).toarray(), weights_of(model), atol=1e-5)
    got = encoder.encode_queries(TEXTS).toarray()
    np.testing.assert_allclose(got, weights_of(model, query=True), atol=1e-5)


def test_a_text_without_tokens_has_no_terms(model_of):
    for name in ("splade-doc", "csr", "unicoil"):
        model = model_of(name)
        batch = TokenBatch(torch.zeros((2, 3), dtype=torch.long), torch.tensor([[0, 0, 0], [1, 1, 0]]))
        assert not model.document_side(batch).weights[0].any()


def test_windows_and_cut_count(model_of, tmp_path):
    model = model_of("splade-lexical")
    model.save(tmp_path / "model")
    long = " ".join(["word1"] * 80 + ["topic3"])
    cut = load_encoder(tmp_path / "model")
    windows = load_encoder(tmp_path / "model", EncoderOptions(long_documents="windows"))
    topic = list(cut.vocabulary).index("topic3")
    assert cut.encode_documents([long, ""])[0, topic] == 0
    assert cut.cut_count == 1
    assert cut.text_frequencies[topic] == 0
    rows = windows.encode_documents([long, ""]).toarray()
    assert rows[0, topic] > 0
    assert not rows[1].any()


def test_table_queries_are_searched_without_torch(model_of, tmp_path):
    model = model_of("deepimpact")
    model.save(tmp_path / "model")
    side = tmp_path / "side"
    side.mkdir()
    load_encoder(tmp_path / "model").save_query_side(side)
    code = (
        "import sys; from lsr.encoders import load_query_encoder; "
        f"print(load_query_encoder({str(side)!r}).encode_queries(['topic1 word2']).sum(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2.0", "False"]


def test_types(model_of):
    model = model_of("splade-doc")
    assert isinstance(model.document, Side)
    assert isinstance(model.query, QueryTable)
    assert model.module is model
