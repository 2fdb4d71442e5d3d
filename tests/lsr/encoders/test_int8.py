"""The integer form of BERT against plain float32, and its parts against plain arithmetic."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertConfig, BertForMaskedLM

from lsr.encoders import EncoderOptions, load_encoder
from lsr.encoders.int8_head import Int8Head
from lsr.encoders.int8_kernels import GELU_FLOOR, gelu_quantise, maxima, quantise
from lsr.encoders.int8_linear import Int8Linear, quantised_rows, byte_product
from lsr.encoders.learned import LearnedEncoder
from lsr.errors import UserError

SHARED = Path(os.environ.get("LSR_SHARED") or Path(__file__).resolve().parents[3].parent / "shared")
INTERIM = SHARED / "models" / "interim"
pytestmark = pytest.mark.skipif(byte_product() is None, reason="this processor has no fast exact product of bytes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, request):
    """A model of width 64 with an idf.json, its activations a few times larger in some columns."""
    import json

    from .conftest import SPECIAL, WORDS, build_tokenizer

    torch.manual_seed(3)
    tokenizer = build_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=3, num_attention_heads=2,
        intermediate_size=128, max_position_embeddings=64, initializer_range=0.15,
    )  # fmt: skip
    model = BertForMaskedLM(config)
    with torch.no_grad():
        for layer in model.bert.encoder.layer:
            layer.output.LayerNorm.weight[7] = 6.0
            layer.attention.output.LayerNorm.bias[9] = 4.0
            layer.output.dense.weight[:, 5] *= 12
        model.cls.predictions.bias.normal_(-0.5, 0.5)
    place = tmp_path_factory.mktemp("int8")
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    (place / "idf.json").write_text(json.dumps({word: 1.0 for word in [*SPECIAL, *WORDS]}))
    return place


def load(folder, **options) -> LearnedEncoder:
    settings = {"precision": "int8", **options.pop("settings", {})}
    encoder = load_encoder(folder, EncoderOptions(device="cpu", settings=settings, **options))
    assert isinstance(encoder, LearnedEncoder)
    return encoder


def hugging_face(folder, texts, length):
    """Term weights of plain transformers: logits, maximum, double log1p, special tokens zeroed."""
    model = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = []
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=length, return_tensors="pt")
        with torch.inference_mode():
            row = torch.log1p(torch.log1p(torch.relu(model(**ids).logits[0].amax(0)))).clone()
        row = row.numpy()
        row[tokenizer.all_special_ids] = 0
        rows.append(row)
    return np.array(rows)


def cosines(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_documents_are_near_those_of_transformers(folder, texts):
    got = load(folder).encode_documents(texts).toarray()
    expected = hugging_face(folder, texts, 48)
    assert cosines(got, expected).min() > 0.998
    assert np.abs(got - expected).max() < 0.12


def test_damping_and_units_apart_pay(folder, texts, monkeypatch):
    """Without them, the few large columns of this model take the levels of all others."""
    plain = load(folder, settings={"precision": "float32"}).encode_documents(texts).toarray()
    got = load(folder).encode_documents(texts).toarray()
    monkeypatch.setattr(
        "lsr.encoders.int8_bert.damping", lambda weight, *_, **__: np.ones(weight.shape[1], np.float32)
    )
    monkeypatch.setattr("lsr.encoders.int8_bert.units_apart", lambda *_: np.zeros(0, np.int64))
    without = load(folder).encode_documents(texts).toarray()
    assert 1 - cosines(without, plain).mean() > 2 * (1 - cosines(got, plain).mean()) > 0


def test_a_text_does_not_depend_on_its_batch_or_on_threads(folder, texts):
    many = [f"{a} {b}" for a in texts for b in texts for _ in range(12)] + texts
    before = torch.get_num_threads()
    try:
        rows = [load(folder, threads=threads).encode_documents(many) for threads in (1, 2)]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert (rows[0] != rows[1]).nnz == 0
    alone = load(folder)
    for text, row in zip(many[::97], rows[0].toarray()[::97], strict=True):
        np.testing.assert_array_equal(alone.encode_documents([text]).toarray()[0], row)


def test_windows_limits_and_empty_texts_work_as_in_float32(folder):
    long = "the quick brown fox jumped over the lazy dog in the garden . " * 8
    options = {"max_length": 12, "long_documents": "windows", "max_terms": 9}
    got = load(folder, **options).encode_documents([long, "", "  "])
    plain = load(folder, settings={"precision": "float32"}, **options).encode_documents([long, "", "  "])
    assert np.diff(got.indptr).tolist() == [9, 0, 0]
    assert cosines(got.toarray()[:1], plain.toarray()[:1])[0] > 0.98


def test_pooling_by_sum_is_refused(folder):
    with pytest.raises(UserError, match="maximum pooling"):
        load(folder, settings={"pooling": "sum"})


def test_other_architectures_are_refused(tmp_path):
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    from .conftest import build_tokenizer

    tokenizer = build_tokenizer()
    config = DistilBertConfig(vocab_size=len(tokenizer), dim=32, n_layers=1, n_heads=2, hidden_dim=64)
    DistilBertForMaskedLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="BertForMaskedLM, and this is DistilBertForMaskedLM"):
        load(tmp_path)


def test_weights_that_are_not_finite_are_refused(folder, tmp_path):
    model = AutoModelForMaskedLM.from_pretrained(folder)
    with torch.no_grad():
        model.bert.encoder.layer[1].output.dense.weight[3, 3] = torch.inf
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    with pytest.raises(UserError):
        load(tmp_path)


@pytest.mark.parametrize("limit", [None, 20])
def test_head_gives_exact_weights_of_its_states(limit):
    """Given the states, the head's weights are float32's; a limit may only drop the lighter ones."""
    generator = torch.Generator().manual_seed(1)
    lengths = [3, 30, 1, 77]
    states = torch.randn(sum(lengths), 48, generator=generator)
    weight = torch.randn(1700, 48, generator=generator) / 7
    bias = torch.randn(1700, generator=generator) - 1.5
    bias[:40] = -30000
    inputs = [np.arange(50, 50 + n, dtype=np.int32) for n in lengths]
    head = Int8Head(weight, bias, "log1p", left_out=np.array([1000, 1001]), limit=limit)
    got = head.weights(states, lengths, inputs).toarray()
    logits = states @ weight.t() + bias
    expected = torch.stack([part.amax(0) for part in logits.split(lengths)]).relu().log1p().numpy()
    expected[:, [1000, 1001]] = 0
    if limit is None:
        np.testing.assert_allclose(got, expected, atol=2e-6)
    else:
        for row, full in zip(got, expected, strict=True):
            top = np.argsort(-full)[:limit]
            np.testing.assert_allclose(row[top], full[top], atol=2e-6)


def test_head_searches_its_rows_and_a_texts_own_pieces():
    generator = torch.Generator().manual_seed(2)
    states, weight = torch.randn(9, 32, generator=generator), torch.randn(600, 32, generator=generator)
    rows = np.arange(100, 300)
    head = Int8Head(weight, None, "log1p", rows=rows)
    own = [np.array([5, 5, 150, 599], np.int32), np.array([7], np.int32)]
    got = head.weights(states, [4, 5], own).toarray()
    expected = torch.stack([p.amax(0) for p in (states @ weight.t()).split([4, 5])]).relu().log1p().numpy()
    for text, ids in enumerate(own):
        reached = np.union1d(rows, ids)
        np.testing.assert_allclose(got[text][reached], expected[text][reached], atol=2e-6)
        assert not np.delete(got[text], reached).any()


def test_products_stay_exact_at_the_ends_of_their_ranges():
    codes = np.full((3, 384), 127, np.int8)
    codes[1] = -127
    layer = Int8Linear(torch.ones(8, 384) * torch.tensor([1.0, -1.0] * 4)[:, None], None)
    assert layer.sums(codes)[0].tolist() == [384 * 127 * 63, -384 * 127 * 63] * 4
    assert layer.sums(codes)[1].tolist() == [-384 * 127 * 63, 384 * 127 * 63] * 4


def test_rows_are_quantised_to_the_levels_allowed():
    weight = torch.randn(20, 50)
    weight[3] = 0
    codes, steps = quantised_rows(weight, 63)
    assert codes.abs().max() <= 63
    assert not codes[3].any()
    assert (codes * steps[:, None] - weight).abs().max() < 0.26 * weight.abs().max()


def test_kernels_against_plain_arithmetic():
    generator = np.random.default_rng(0)
    values = generator.standard_normal((5, 40)).astype(np.float32)
    values[2] = 0
    codes, scales = np.empty((5, 40), np.int8), np.empty(5, np.float32)
    quantise(values, np.full(40, 0.5, np.float32), codes, scales, np.empty(40, np.float32))
    np.testing.assert_allclose(codes * scales[:, None], values / 2, atol=0.51 * scales.max())
    np.testing.assert_allclose(scales, np.abs(values).max(1) / 254, rtol=1e-6, atol=1e-20)

    sums = generator.integers(-40000, 40000, (5, 40)).astype(np.int32)
    given, steps = np.full(5, 1e-4, np.float32), np.ones(40, np.float32)
    bias = generator.standard_normal(40).astype(np.float32)
    apart = np.array([3, 17])
    exact = np.empty((5, 2), np.float32)
    gelu_quantise(sums, given, steps, bias, np.full(40, 2, np.float32), apart, exact, codes, scales,
                  np.empty(40, np.float32))  # fmt: skip
    expected = torch.nn.functional.gelu(torch.from_numpy(sums * 1e-4 + bias)).numpy()
    np.testing.assert_allclose(exact, expected[:, apart], atol=2e-6)
    got = (codes.astype(np.float64) + 127) * scales[:, None] / 2 + GELU_FLOOR
    got[:, apart], expected[:, apart] = 0, 0
    np.testing.assert_allclose(got, expected, atol=0.26 * scales.max())

    best = np.empty((2, 40), np.float32)
    maxima(sums, np.arange(1, 6, dtype=np.float32), np.array([0, 2, 5]), best)
    scaled = sums * np.arange(1, 6, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(best, [scaled[:2].max(0), scaled[2:].max(0)])


@pytest.mark.skipif(not INTERIM.is_dir(), reason=f"no interim model in {SHARED}")
def test_a_trained_model_stays_within_the_stated_tolerance():
    """Rounding is another thing in a trained model, whose columns differ by powers of ten."""
    texts = [
        "experimental investigation of the aerodynamics of a wing in a slipstream . the lift increment due to "
        "slipstream was determined at different angles of attack and free stream velocities .",
        "Statins lower the risk of stroke in patients with coronary heart disease, a randomised trial found.",
        "how do I reset the password of my account when the mail never arrives?",
    ]
    got = load(INTERIM, max_length=256).encode_documents(texts).toarray()
    expected = hugging_face(INTERIM, texts, 256)
    assert cosines(got, expected).min() > 0.99
    for row, full in zip(got, expected, strict=True):
        assert len({*np.argsort(-row)[:10]} & {*np.argsort(-full)[:10]}) >= 9
