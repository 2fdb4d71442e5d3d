"""The setting terms=words: forms of a word share a term, other words have terms of their own."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM

import lsr
from lsr.encoders import EncoderOptions, load_encoder
from lsr.encoders.bag_of_tokens import BagOfTokensQueryEncoder
from lsr.encoders.bm25_words import WordTerms
from lsr.encoders.int8_linear import byte_product
from lsr.encoders.stem_classes import content_pieces, stem_classes
from lsr.encoders.word_terms import DocumentWords, WordLookup
from lsr.errors import UserError

from .conftest import SPECIAL, build_tokenizer

PIECES = [
    *SPECIAL, "the", "of", "is", "and", ".", ",", "temperature", "temperatures", "wing", "wings", "flow", "flows",
    "hyper", "##sonic", "##s", "##ing", "heat", "heated", "heating", "transfer", "a", "b", "x",
    "##a", "##b", "##x", "bound", "##ary",
]  # fmt: skip
TEXTS = [
    "The temperatures of hypersonic flows.",
    "heating and heat transfer, heated wings",
    "hypersonics is the flow of boundary and boundaries",
    "",
    "the of and",
    "xxab abx.",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A masked language model over PIECES, with an idf.json and a limit on what expansion may reach."""
    place = tmp_path_factory.mktemp("words")
    tokenizer = build_tokenizer(PIECES[len(SPECIAL) :])
    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=len(PIECES), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64, initializer_range=0.3,
    )  # fmt: skip
    model = BertForMaskedLM(config)
    with torch.no_grad():
        model.cls.predictions.bias.normal_(0.3, 0.5)
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    (place / "idf.json").write_text(json.dumps({piece: 1.0 + i / 50 for i, piece in enumerate(PIECES)}))
    return place


def load(folder, **settings):
    settings = {"terms": "words", "precision": "float32", **settings}
    return load_encoder(folder, EncoderOptions(device="cpu", settings=settings))


def plain(folder, text, *, content=False, rows=None):
    """Term weights of a text by the definition, from transformers' logits: {piece: weight}."""
    model = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = build_tokenizer(PIECES[len(SPECIAL) :])(text, return_tensors="pt")
    with torch.inference_mode():
        weights = torch.log1p(torch.log1p(torch.relu(model(**ids).logits[0]))).numpy()
    pieces = ids["input_ids"][0].numpy()
    if content:
        chosen = content_pieces(PIECES)[pieces]
        weights, pieces = weights[chosen], pieces[chosen]
    allowed = [i for i in range(len(PIECES)) if PIECES[i] not in SPECIAL]
    if rows is None:
        return {i: weights[:, i].max() for i in allowed}
    found = {i: weights[:, i].max() for i in allowed if i in rows}
    for place, piece in enumerate(pieces):
        if piece in allowed and piece not in rows:
            found[piece] = max(found.get(piece, 0), weights[place, piece])
    return found


def joined(weights, classes):
    found: dict[int, float] = {}
    for piece, weight in weights.items():
        term = int(classes.term_of[piece])
        if weight > 0:
            found[term] = max(found.get(term, 0), float(weight))
    return found


def row_of(matrix, row):
    part = matrix[[row]]
    return dict(zip(part.indices.tolist(), part.data.tolist(), strict=True))


def test_forms_of_a_word_share_the_term_of_the_first():
    classes = stem_classes(PIECES)
    names = {PIECES[i]: PIECES[t] for i, t in enumerate(classes.term_of) if i != t}
    assert names == {
        "temperatures": "temperature", "wings": "wing", "flows": "flow", "heated": "heat", "heating": "heat",
    }  # fmt: skip
    assert classes.by_stem["temperatur"] == PIECES.index("temperature")
    assert not {"the", "of", "##s", "."} & {PIECES[i] for i in classes.by_stem.values()}


def test_content_pieces_are_no_stop_words_and_no_punctuation():
    found = {PIECES[i] for i in np.flatnonzero(~content_pieces(PIECES))}
    assert found == {"[PAD]", "[UNK]", "[SEP]", "[MASK]", "the", "of", "is", "and", ".", ",", "a"}


@pytest.mark.parametrize("content", [False, True])
@pytest.mark.parametrize("limited", [False, True])
def test_document_weights_equal_the_definition(folder, tmp_path, content, limited):
    rows = None
    if limited:
        rows = [
            PIECES.index(piece)
            for piece in ("temperature", "wing", "flow", "heat", "transfer", "##sonic", "hyper")
        ]
        for path in folder.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        np.save(tmp_path / "head_rows.npy", np.array(rows, np.int32))
    encoder = load(tmp_path if limited else folder, pooled_tokens="content" if content else "all")
    got = encoder.encode_documents(TEXTS)
    classes = stem_classes(PIECES)
    for row, text in enumerate(TEXTS):
        expected = joined(plain(folder, text, content=content, rows=rows), classes) if text.strip() else {}
        found = row_of(got, row)
        assert found.keys() == expected.keys()
        for term, weight in expected.items():
            assert found[term] == pytest.approx(weight, abs=2e-6)
    if byte_product() is not None:
        whole = load(
            tmp_path if limited else folder, pooled_tokens="content" if content else "all", precision="int8"
        )
        rough = whole.encode_documents(TEXTS).toarray()
        exact = got.toarray()
        for row in (0, 1, 2, 5):
            cosine = rough[row] @ exact[row] / np.linalg.norm(rough[row]) / np.linalg.norm(exact[row])
            assert cosine > 0.99


def test_words_are_added_as_bm25_weighs_them(folder):
    encoder = load(folder, lexical_weight=0.7)
    bare = load(folder)
    got, without = encoder.encode_documents(TEXTS), bare.encode_documents(TEXTS)
    words = WordTerms("english", "english")
    classes = stem_classes(PIECES)
    for row, text in enumerate(TEXTS):
        stems = words.terms(text)
        expected = row_of(without, row)
        for stem in set(stems):
            term = classes.by_stem.get(stem)
            term = encoder.vocabulary.index(f"{stem}*") if term is None else term
            tf = stems.count(stem)
            added = 0.7 * tf / (tf + 1.2 * (1 - 0.75 + 0.75 * len(stems) / 100))
            expected[term] = expected.get(term, 0) + added
        found = row_of(got, row)
        assert found.keys() == expected.keys()
        for term, weight in expected.items():
            assert found[term] == pytest.approx(weight, rel=1e-5)
    assert encoder.vocabulary[len(PIECES) :] == ["hyperson*", "boundari*", "xxab*", "abx*"]


def test_the_terms_a_text_holds_are_those_of_its_pieces_and_words(folder):
    encoder = load(folder)
    encoder.encode_documents(TEXTS)
    held = {encoder.vocabulary[i] for i in row_of(encoder.text_terms, 0)}
    assert held == {
        "[CLS]",
        "[SEP]",
        "the",
        "temperature",
        "of",
        "hyper",
        "##sonic",
        "flow",
        ".",
        "hyperson*",
    }
    again = load(folder)
    assert (again.own_terms(TEXTS) != encoder.text_terms).nnz == 0
    assert again.vocabulary == encoder.vocabulary
    counts = np.asarray(encoder.text_terms.sum(axis=0)).ravel()
    np.testing.assert_array_equal(encoder.text_frequencies, counts)


def test_a_cut_text_has_the_words_that_were_read(folder):
    text = "hypersonic flow " + "wings " * 30 + "boundary"
    encoder = load_encoder(
        folder,
        EncoderOptions(device="cpu", max_length=12, settings={"terms": "words", "lexical_weight": 1.0}),
    )
    encoder.encode_documents([text])
    assert encoder.vocabulary[len(PIECES) :] == ["hyperson*"]
    assert encoder.cut_count == 1
    windows = load_encoder(
        folder,
        EncoderOptions(
            device="cpu",
            max_length=12,
            long_documents="windows",
            settings={"terms": "words", "lexical_weight": 1.0},
        ),
    )
    windows.encode_documents([text])
    assert windows.vocabulary[len(PIECES) :] == ["hyperson*", "boundari*"]


class _Statistics:
    """An index of 100 documents, whose vocabulary has one word past the pieces."""

    document_count = 100
    vocabulary_size = len(PIECES) + 1

    def text_document_frequencies(self, term_ids):
        return np.where(np.asarray(term_ids) == len(PIECES), 2, 30)

    document_frequencies = text_document_frequencies

    def term_ids(self, terms):
        return np.array([len(PIECES) if term == "hyperson*" else -1 for term in terms], np.int64)


def test_queries_have_the_terms_of_their_pieces_and_words(folder):
    encoder = load(folder, idf="corpus")
    got = encoder.encode_queries(["heated hypersonics, unknown"], _Statistics())
    assert got.shape == (1, len(PIECES) + 1)
    names = [*PIECES, "hyperson*"]
    rare, common = (float(np.log1p((100 - df + 0.5) / (df + 0.5))) for df in (2, 30))
    assert {names[i]: round(w, 5) for i, w in row_of(got, 0).items()} == {
        "heat": round(common, 5), "hyper": round(common, 5), "##sonic": round(common, 5),
        "##s": round(common, 5), ",": round(common, 5), "hyperson*": round(rare, 5),
    }  # fmt: skip
    trained = load(folder, idf="training")
    table = trained.query_side.table
    got = row_of(trained.encode_queries(["heated hypersonics"], _Statistics()), 0)
    assert got[len(PIECES)] == table.max()
    assert got[PIECES.index("heat")] == table[PIECES.index("heat")]
    assert len(PIECES) not in row_of(trained.encode_queries(["heated hypersonics"]), 0)


@pytest.mark.parametrize("k3", [0.0, 2.0, 8.0])
def test_terms_that_a_query_repeats_weigh_as_in_okapi_bm25(folder, tmp_path, k3):
    side = load(folder, query_k3=k3).query_side
    text = "wing of wings, wing; heat and transfer, heat"
    (tmp_path / "side").mkdir()
    side.save(tmp_path / "side")
    for encoder in (side, lsr.load_query_encoder(tmp_path / "side")):
        found = row_of(encoder.encode_queries([text]), 0)
        once = row_of(load(folder).query_side.encode_queries([text]), 0)
        for word, n in (("wing", 3), ("heat", 2), ("transfer", 1)):
            term = PIECES.index(word)
            assert found[term] == pytest.approx(once[term] * (k3 + 1) * n / (k3 + n))
        assert set(found) == set(once)
    assert side.settings["k3"] == k3
    assert load(folder, query_k3=k3).fingerprint() == load(folder).fingerprint()


def test_query_side_survives_saving(folder, tmp_path):
    encoder = load(folder, idf="corpus")
    encoder.save_query_side(tmp_path)
    record = json.loads((tmp_path / "query_encoder.json").read_text())
    again = BagOfTokensQueryEncoder.load(tmp_path, record)
    queries = ["the temperatures of hypersonics", "", "heating wings and a wing"]
    one, two = (e.encode_queries(queries, _Statistics()) for e in (encoder, again))
    assert (one != two).nnz == 0
    assert again.settings["terms"] == "words"
    (tmp_path / "query_words.json").write_text("{}")
    with pytest.raises(UserError, match=r"query_words\.json"):
        BagOfTokensQueryEncoder.load(tmp_path, record)


def test_spans_name_terms(folder):
    text = "Heated hypersonics."
    spans = [(text[s.start : s.end], s.term) for s in load(folder).term_spans(text)]
    assert spans == [
        ("Heated", "heat"), ("hyper", "hyper"), ("hypersonics", "hyperson*"), ("sonic", "##sonic"), ("s", "##s"),
        (".", "."),
    ]  # fmt: skip


@given(st.lists(st.text("abx AX.,-é_5", max_size=12), min_size=1, max_size=5))
def test_words_of_any_text_have_the_same_terms_in_documents_and_queries(texts):
    documents = DocumentWords(PIECES)
    counts = documents.counts(texts)
    lookup = WordLookup.of(PIECES)
    for row, text in enumerate(texts):
        asked = [documents.vocabulary.index(t) if isinstance(t, str) else t for t in lookup.terms(text)]
        found = row_of(counts, row)
        assert found == {term: asked.count(term) for term in asked}
    assert len(set(documents.vocabulary)) == len(documents.vocabulary)


def test_an_index_of_words_is_searched_added_to_and_explained(folder, tmp_path):
    documents = [lsr.Document(id=str(i), text=text) for i, text in enumerate(TEXTS) if text.strip()]
    options = EncoderOptions(device="cpu", idf="corpus", settings={"terms": "words", "lexical_weight": 1.0})
    whole, grown = tmp_path / "whole.index", tmp_path / "grown.index"
    lsr.build_index(documents, whole, str(folder), options=options)
    lsr.build_index(documents[:2], grown, str(folder), options=options)
    lsr.add_documents(documents[2:], grown)
    with lsr.Searcher(whole) as one, lsr.Searcher(grown) as two:
        assert one.index.vocabulary() == two.index.vocabulary()
        for query in ("boundaries", "hypersonic heat", "abx", "nothing known"):
            a, b = one.search(query, k=5), two.search(query, k=5)
            assert [hit.id for hit in a] == [hit.id for hit in b]
            # The grid of impacts is that of the documents that came first.
            assert [hit.score for hit in a] == pytest.approx([hit.score for hit in b], rel=0.02)
        best = one.search("boundary", k=1)[0]
        assert best.id == "2"
        terms = {part.term: part for part in one.explain("boundary", best)}
        assert terms["boundari*"].in_query
        assert terms["boundari*"].in_document


def test_words_of_another_corpus_are_forgotten(folder, tmp_path):
    encoder = load(folder, lexical_weight=0.5)
    lsr.build_index([lsr.Document("0", "zebras and boundaries")], tmp_path / "zebras.index", encoder)
    lsr.build_index([lsr.Document("0", "giraffes")], tmp_path / "giraffes.index", encoder)
    with lsr.Searcher(tmp_path / "giraffes.index") as searcher:
        assert list(searcher.index.vocabulary()[len(PIECES) :]) == ["giraff*"]
    # Documents that were encoded and never added leave no trace either.
    encoder.encode_documents(["lions"])
    lsr.add_documents([lsr.Document("1", "elephants")], tmp_path / "zebras.index", encoder)
    with lsr.Searcher(tmp_path / "zebras.index") as searcher:
        assert list(searcher.index.vocabulary()[len(PIECES) :]) == ["zebra*", "boundari*", "eleph*"]
        assert [hit.id for hit in searcher.search("an elephant")] == ["1"]


@pytest.mark.parametrize("idf", ["training", "corpus"])
def test_a_frozen_query_side_needs_no_index(folder, tmp_path, idf):
    documents = [lsr.Document(id=str(i), text=text) for i, text in enumerate(TEXTS) if text.strip()]
    options = EncoderOptions(device="cpu", idf=idf, settings={"terms": "words", "query_k3": 8})
    lsr.build_index(documents, tmp_path / "an.index", str(folder), options=options)
    with lsr.Searcher(tmp_path / "an.index") as searcher:
        queries = ["boundaries of hypersonic flow", "abx unknown, abx", "the"]
        wanted = searcher.encode_queries(queries)
        side = load(folder, terms="words", idf=idf, query_k3=8).query_side
        (tmp_path / "side").mkdir()
        side.frozen(searcher.index, searcher.index.vocabulary()).save(tmp_path / "side")
    found = lsr.load_query_encoder(tmp_path / "side").encode_queries(queries)
    if idf == "training":
        # Only an index tells that a word is nowhere; without one it has no term at all.
        assert found.shape == wanted.shape
    np.testing.assert_array_equal(found.toarray(), wanted.toarray())


def test_saving_keeps_the_setting(folder, tmp_path):
    encoder = load(folder, lexical_weight=0.5, pooled_tokens="content")
    encoder.save(tmp_path / "saved")
    again = load_encoder(tmp_path / "saved", EncoderOptions(device="cpu"))
    one, two = encoder.encode_documents(TEXTS), again.encode_documents(TEXTS)
    np.testing.assert_allclose(one.toarray(), two.toarray(), atol=1e-6)
    assert again.settings["terms"] == "words"


def test_settings_that_change_nothing_leave_a_fingerprint_as_it_was(folder):
    plain_encoder = load_encoder(folder, EncoderOptions(device="cpu"))
    documents = plain_encoder.checkpoint.settings.of_documents()
    assert not {"terms", "pooled_tokens", "lexical_weight"} & set(documents)
    assert load(folder).fingerprint() != plain_encoder.fingerprint()


@pytest.mark.parametrize("name", ["terms", "pooled_tokens"])
def test_unknown_values_are_refused(folder, name):
    with pytest.raises(UserError, match=name):
        load(folder, **{name: "none"})


def test_tokenizer_of_the_package_has_classes():
    from lsr.encoders.built_in import models_folder

    tokenizer = Tokenizer.from_file(str(models_folder() / "default" / "tokenizer.json"))
    pieces = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    classes = stem_classes(pieces)
    assert 20_000 < len(set(classes.term_of.tolist())) < 25_000
    assert (classes.term_of[classes.term_of] == classes.term_of).all()
