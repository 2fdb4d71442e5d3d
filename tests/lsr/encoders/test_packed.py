"""The shipping form: packed, loaded, saved on, found by its built-in name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lsr.encoders import EncoderOptions, load_encoder, load_query_encoder
from lsr.encoders import built_in as built_in_module
from lsr.encoders.int8_linear import byte_product
from lsr.encoders.learned import LearnedEncoder
from lsr.encoders.packed_weights import PACKED_FILE, WORST_ERROR, read_packed, write_packed
from lsr.encoders.packing import pack_encoder, rows_in_use
from lsr.errors import UserError

FLOAT = {"precision": "float32"}


def load(folder, **options) -> LearnedEncoder:
    encoder = load_encoder(folder, EncoderOptions(device="cpu", **options))
    assert isinstance(encoder, LearnedEncoder)
    return encoder


@pytest.fixture(scope="module")
def source(opensearch_folder, tmp_path_factory) -> Path:
    """The inference-free model with factors for two pieces, one of them 0."""
    import shutil

    folder = tmp_path_factory.mktemp("source") / "model"
    shutil.copytree(opensearch_folder, folder)
    (folder / "query_factors.json").write_text(json.dumps({"fox": 2.5, "the": 0.0}))
    return folder


@pytest.fixture(scope="module")
def packed(source, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "default"
    pack_encoder(load(source), folder, settings={"idf": "corpus", "max_terms": 40})
    return folder


class Statistics:
    document_count = 100
    vocabulary_size = 57

    def document_frequencies(self, ids):
        return np.asarray(ids) % 7 + 1

    text_document_frequencies = document_frequencies


def test_float32_vectors_are_within_half_a_percent(source, packed, texts):
    assert Statistics.vocabulary_size == load(source).model.vocabulary_size
    before = load(source, settings={"max_terms": 40}).encode_documents(texts).toarray()
    after = load(packed, settings=FLOAT).encode_documents(texts).toarray()
    cosines = (before * after).sum(1) / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)
    assert cosines.min() > 0.9998
    assert 0 < np.abs(before - after).max() < 0.05


@pytest.mark.skipif(byte_product() is None, reason="this processor has no fast exact product of bytes")
def test_its_own_precision_is_int8_and_near(source, packed, texts):
    encoder = load(packed)
    assert encoder.settings["precision"] == "int8"
    plain = load(packed, settings=FLOAT).encode_documents(texts).toarray()
    got = encoder.encode_documents(texts).toarray()
    cosines = (plain * got).sum(1) / np.linalg.norm(plain, axis=1) / np.linalg.norm(got, axis=1)
    assert cosines.min() > 0.995
    assert np.abs(plain - got).max() > 0


def test_settings_and_queries_survive(source, packed, texts):
    before, after = load(source), load(packed)
    assert (after.settings["idf"], after.settings["max_terms"]) == ("corpus", 40)
    assert after.settings["activation"] == before.settings["activation"] == "double-log1p"
    training = [load(f, idf="training").encode_queries(texts) for f in (source, packed)]
    np.testing.assert_allclose(training[1].toarray(), training[0].toarray(), rtol=1e-5)
    corpus = [load(f, idf="corpus").encode_queries(texts, Statistics()) for f in (source, packed)]
    np.testing.assert_array_equal(corpus[1].toarray(), corpus[0].toarray())
    assert (after.encode_queries(texts, Statistics()) != corpus[1]).nnz == 0


def test_factors_multiply_both_idfs(source, opensearch_folder):
    fox = load(source).vocabulary.index("fox")
    for idf, statistics in (("training", None), ("corpus", Statistics())):
        with_factors, without = (
            load(folder, idf=idf).encode_queries(["the fox sat"], statistics).toarray()[0]
            for folder in (source, opensearch_folder)
        )
        assert with_factors[fox] == pytest.approx(2.5 * without[fox])
        expected = without.copy()
        expected[[fox, load(source).vocabulary.index("the")]] = [2.5 * without[fox], 0]
        np.testing.assert_allclose(with_factors, expected, rtol=1e-6)


def test_factors_reach_the_index_side_and_a_saved_folder(source, tmp_path):
    expected = load(source, idf="corpus").encode_queries(["the fox sat"], Statistics()).toarray()
    load(source).save_query_side(tmp_path)
    query = load_query_encoder(tmp_path, EncoderOptions(idf="corpus"))
    np.testing.assert_array_equal(query.encode_queries(["the fox sat"], Statistics()).toarray(), expected)
    load(source).save(tmp_path / "saved")
    saved = load(tmp_path / "saved", idf="corpus")
    np.testing.assert_array_equal(saved.encode_queries(["the fox sat"], Statistics()).toarray(), expected)
    (tmp_path / "query_factors.npy").unlink()
    with pytest.raises(UserError, match="query_factors"):
        load_query_encoder(tmp_path)


@pytest.mark.parametrize("content", ['{"fox": -1}', '{"no such piece": 1}', '{"fox": "2"}', "[]", "{"])
def test_bad_factors_are_refused(source, tmp_path, content):
    import shutil

    shutil.copytree(source, tmp_path / "model")
    (tmp_path / "model" / "query_factors.json").write_text(content)
    with pytest.raises(UserError, match=r"query_factors\.json"):
        load(tmp_path / "model")


def test_sentence_transformers_gives_the_same_vectors(packed, texts, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    encoder = load(packed, settings={**FLOAT, "max_terms": 1000}, idf="training")
    encoder.save(tmp_path / "saved")
    theirs = sentence_transformers.SparseEncoder(str(tmp_path / "saved"), device="cpu")
    documents = theirs.encode_document(texts, convert_to_sparse_tensor=False).numpy()
    np.testing.assert_allclose(encoder.encode_documents(texts).toarray(), documents, atol=1e-5)
    queries = theirs.encode_query(texts, convert_to_sparse_tensor=False).numpy()
    np.testing.assert_allclose(encoder.encode_queries(texts).toarray(), queries, rtol=1e-5)


def test_built_in_names_need_no_network(packed, texts, monkeypatch, tmp_path):
    monkeypatch.setattr(built_in_module, "models_folder", lambda: packed.parent)
    monkeypatch.chdir(tmp_path)
    encoder = load("default")
    expected = load(packed).encode_documents(texts)
    assert (encoder.encode_documents(texts) != expected).nnz == 0
    assert encoder.fingerprint() == load(packed).fingerprint()
    with pytest.raises(UserError, match="default-tiny is a model of lsr's own"):
        load("default-tiny")


def test_a_model_that_encodes_queries_is_found_by_its_name(packed, texts, monkeypatch, tmp_path):
    monkeypatch.setattr(built_in_module, "models_folder", lambda: packed.parent)
    encoder = load("default", settings={"kind": "splade"})
    encoder.save_query_side(tmp_path)
    record = json.loads((tmp_path / "query_encoder.json").read_text())
    assert (record["source"], record["revision"]) == ("default", None)
    got = load_query_encoder(tmp_path).encode_queries(texts)
    assert (got != encoder.encode_queries(texts)).nnz == 0


def test_queries_need_neither_torch_nor_transformers(packed, tmp_path):
    load(packed).save_query_side(tmp_path)
    code = (
        "import sys; from lsr.encoders import EncoderOptions, load_query_encoder\n"
        f"rows = load_query_encoder({str(tmp_path)!r}, EncoderOptions(idf='training')).encode_queries(['the fox'])\n"
        "assert rows.nnz == 1, rows\n"
        "assert not {'torch', 'transformers', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_rows_in_use_bound_expansions_but_not_own_pieces(source, tmp_path, texts):
    encoder = load(source)
    rows = rows_in_use(encoder, texts[:1])
    pack_encoder(encoder, tmp_path / "rows", head_rows=rows)
    pack_encoder(encoder, tmp_path / "all")
    own = encoder.tokenizer.encode(texts[3], add_special_tokens=False).ids
    got, full = (load(tmp_path / name).encode_documents([texts[3]]).toarray()[0] for name in ("rows", "all"))
    if byte_product() is None:
        pytest.skip("this processor has no fast exact product of bytes")
    reached = np.union1d(rows, own)
    np.testing.assert_array_equal(got[reached], full[reached])
    assert not np.delete(got, reached).any()
    assert np.delete(full, reached).any()
    assert load(tmp_path / "rows").fingerprint() != load(tmp_path / "all").fingerprint()
    load(tmp_path / "rows").save(tmp_path / "saved")
    assert np.load(tmp_path / "saved" / "head_rows.npy").tolist() == rows.tolist()


def test_weights_of_every_shape_come_back(tmp_path):
    torch.manual_seed(0)
    outliers = torch.randn(40, 300)
    outliers[:, 5] *= 12
    diagonal = torch.eye(200) + torch.randn(200, 200) / 400
    table = torch.randn(50, 20)
    table[7] = 0
    state = {
        "plain": torch.randn(30, 70) / 100, "outliers": outliers, "diagonal": diagonal, "table": table,
        "tied": table, "bias": torch.randn(30), "places": torch.arange(9),
    }  # fmt: skip
    errors = write_packed(state, tmp_path / PACKED_FILE)
    stored = load_file(tmp_path / PACKED_FILE)
    assert sorted(errors) == ["outliers", "plain", "table"]
    assert "tied" not in stored
    assert stored["plain.step"].shape == (30, 1)
    assert stored["outliers.step"].shape == (40, 3)
    assert stored["diagonal"].dtype == torch.float16
    back = read_packed(tmp_path / PACKED_FILE)
    assert sorted(back) == sorted(state)
    for name, values in state.items():
        if name in errors:
            error = float((back[name] - values).norm() / values.norm())
            assert error == pytest.approx(errors[name], rel=1e-3)
            assert error < WORST_ERROR
        else:
            torch.testing.assert_close(back[name], values, rtol=1e-3, atol=1e-7) if name != "tied" else None
    assert torch.equal(back["tied"], back["table"])
    assert torch.equal(back["bias"], state["bias"])


def test_damaged_files_are_refused(packed, tmp_path):
    import shutil

    folder = tmp_path / "broken"
    shutil.copytree(packed, folder)
    path = folder / PACKED_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(UserError, match="cannot be read"):
        load(folder)
    save_file({"x": torch.ones(2)}, path)
    with pytest.raises(UserError, match="not in the form"):
        load(folder)
    state = read_packed(packed / PACKED_FILE)
    write_packed({name: state[name] for name in list(state)[:-3]}, path)
    with pytest.raises(UserError, match="of two models"):
        load(folder)


def test_only_inference_free_encoders_are_packed(mlm_folder, tmp_path):
    with pytest.raises(UserError, match="no inference-free encoder"):
        pack_encoder(load(mlm_folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()
