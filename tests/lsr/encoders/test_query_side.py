"""Query sides as an index keeps them: loaded without torch, bound to the model they came with."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from lsr.encoders import EncoderOptions, QueryEncoder, load_encoder, load_query_encoder
from lsr.errors import UserError

QUERIES = ["the cat in new york", "dogs", "", "qqq", "cat cat [MASK]"]


class Statistics:
    """100 documents; the term with id i is in i % 100 of their texts."""

    document_count = 100

    def __init__(self, terms):
        self.vocabulary = list(terms)
        self.vocabulary_size = len(self.vocabulary)

    def document_frequencies(self, term_ids):
        return np.full(len(term_ids), 99)

    def text_document_frequencies(self, term_ids):
        return np.asarray(term_ids) % 100


def saved(encoder, folder):
    folder.mkdir(exist_ok=True)
    encoder.save_query_side(folder)
    return folder


@pytest.mark.parametrize("kind", ["inference-free", "splade-doc", "splade"])
def test_saved_side_encodes_as_the_encoder_does(opensearch_folder, tmp_path, kind):
    encoder = load_encoder(opensearch_folder, EncoderOptions(settings={"kind": kind}, device="cpu"))
    side = load_query_encoder(saved(encoder, tmp_path / "side"))
    assert isinstance(side, QueryEncoder)
    assert side.settings["kind"] == kind
    assert abs(side.encode_queries(QUERIES) - encoder.encode_queries(QUERIES)).max() < 1e-6
    assert [span.term for span in side.term_spans("the dogs")] == ["the", "dog", "##s"]


def test_inference_free_side_needs_neither_torch_nor_transformers(opensearch_folder, tmp_path):
    side = saved(load_encoder(opensearch_folder), tmp_path / "side")
    script = (
        "import sys; from lsr.encoders import load_query_encoder; "
        f"encoder = load_query_encoder({str(side)!r}); assert encoder.encode_queries(['the cat']).nnz == 2; "
        "heavy = {'torch', 'transformers', 'numba', 'huggingface_hub'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_corpus_idf(opensearch_folder, tmp_path):
    encoder = load_encoder(opensearch_folder, EncoderOptions(idf="corpus"))
    statistics = Statistics(encoder.vocabulary)
    for side in (encoder, load_query_encoder(saved(encoder, tmp_path / "side"))):
        got = side.encode_queries(["the cat [CLS]"], statistics).toarray()[0]
        for term in ("the", "cat"):
            number = encoder.vocabulary.index(term)
            assert got[number] == pytest.approx(np.log(1 + (100 - number + 0.5) / (number + 0.5)), rel=1e-6)
        assert np.count_nonzero(got) == 2
        with pytest.raises(UserError, match="--idf"):
            side.encode_queries(["the cat"])
    # The choice is free at search time.
    trained = load_query_encoder(tmp_path / "side", EncoderOptions(idf="training"))
    plain = load_encoder(opensearch_folder).encode_queries(["the cat"])
    assert (trained.encode_queries(["the cat"], statistics) != plain).nnz == 0
    statistics.vocabulary_size = 7
    with pytest.raises(UserError, match="encoder that built the index"):
        encoder.encode_queries(["the cat"], statistics)


def test_corpus_idf_without_any_idf_file(mlm_folder):
    with pytest.raises(UserError, match="--idf corpus"):
        load_encoder(mlm_folder, EncoderOptions(settings={"kind": "inference-free"}))
    encoder = load_encoder(mlm_folder, EncoderOptions(settings={"kind": "inference-free"}, idf="corpus"))
    assert encoder.encode_queries(["the cat"], Statistics(encoder.vocabulary)).nnz == 2
    with pytest.raises(UserError, match="splade-doc"):
        load_encoder(mlm_folder, EncoderOptions(settings={"kind": "splade-doc"}, idf="corpus"))


def test_splade_side_refuses_a_model_that_changed_or_went(mlm_folder, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(mlm_folder, model)
    side = saved(load_encoder(model), tmp_path / "side")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-3}))
    with pytest.raises(UserError, match="has changed"):
        load_query_encoder(side).encode_queries(["cat"])
    shutil.rmtree(model)
    with pytest.raises(UserError, match="cannot be loaded"):
        load_query_encoder(side).encode_queries(["cat"])


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "missing"), ("{", "cannot be read"), ("[]", "JSON object"), ('{"kind": "new"}', "'new'")],
)
def test_damaged_side(tmp_path, content, message):
    if content is not None:
        (tmp_path / "query_encoder.json").write_text(content)
    with pytest.raises(UserError, match=message):
        load_query_encoder(tmp_path)


def test_pickled_table_is_never_opened(opensearch_folder, tmp_path):
    side = saved(load_encoder(opensearch_folder), tmp_path / "side")
    np.save(side / "query_weights.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"query_weights\.npy"):
        load_query_encoder(side)
