from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from lsr.encoders.base import CorpusStatistics, Encoder, QueryEncoder
from lsr.encoders.bm25 import Bm25Encoder, load_bm25_query_encoder
from lsr.encoders.bm25_weights import document_part, inverse_document_frequency
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError

TEXTS = [
    "The cat sat on the mat; the other cats did not.",
    "",
    "Dogs and cats, running dogs",
    "of the and",
    "a snake_case identifier, naïve café №5",
]


class Statistics:
    """What an index tells about a matrix of term frequencies."""

    def __init__(self, vocabulary: Sequence[str], frequencies: sparse.csr_array) -> None:
        self.document_count = frequencies.shape[0]
        self.vocabulary_size = len(vocabulary)
        self._ids = {term: number for number, term in enumerate(vocabulary)}
        self._counts = np.bincount(frequencies.indices, minlength=len(vocabulary))

    def document_frequencies(self, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._counts[term_ids].astype(np.int64)

    def text_document_frequencies(self, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.document_frequencies(term_ids)

    def term_ids(self, terms: Sequence[str]) -> NDArray[np.int64]:
        return np.array([self._ids.get(term, -1) for term in terms], dtype=np.int64)


def encoder(**settings: Any) -> Bm25Encoder:
    return Bm25Encoder.from_options(EncoderOptions(settings=settings))


def as_counts(row_of: sparse.csr_array, row: int, vocabulary: Sequence[str]) -> dict[str, float]:
    start, end = row_of.indptr[row], row_of.indptr[row + 1]
    names = [vocabulary[number] for number in row_of.indices[start:end]]
    return dict(zip(names, row_of.data[start:end].tolist(), strict=True))


def assert_canonical(matrix: sparse.csr_array, shape: tuple[int, int]) -> None:
    assert matrix.shape == shape
    assert matrix.dtype == np.float32
    matrix.check_format(full_check=True)
    for start, end in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
        assert (np.diff(matrix.indices[start:end]) > 0).all()
    assert (matrix.data > 0).all()


def assert_equal(one: sparse.csr_array, other: sparse.csr_array) -> None:
    np.testing.assert_array_equal(one.toarray(), other.toarray())


def test_it_is_an_encoder() -> None:
    bm25 = encoder()
    assert isinstance(bm25, Encoder)
    assert isinstance(bm25, QueryEncoder)
    assert (bm25.name, bm25.weighting) == ("bm25", "frequency")
    assert isinstance(Statistics([], sparse.csr_array((0, 0))), CorpusStatistics)


def test_documents_become_term_frequencies() -> None:
    bm25 = encoder()
    counts = bm25.encode_documents(TEXTS)
    assert_canonical(counts, (5, len(bm25.vocabulary)))
    rows = [as_counts(counts, row, bm25.vocabulary) for row in range(5)]
    assert rows[0] == {"cat": 2, "sat": 1, "mat": 1, "other": 1}
    assert rows[1] == rows[3] == {}
    assert rows[2] == {"dog": 2, "cat": 1, "run": 1}
    assert rows[4] == {"snake": 1, "case": 1, "identifi": 1, "naïv": 1, "café": 1, "no5": 1}


def test_without_stop_words_and_stemming() -> None:
    bm25 = encoder(stop_words="none", stemmer="none")
    counts = bm25.encode_documents(TEXTS[:1])
    assert as_counts(counts, 0, bm25.vocabulary) == {
        **dict.fromkeys(["cat", "sat", "on", "mat", "other", "cats", "did", "not"], 1),
        "the": 3,
    }


def test_other_languages() -> None:
    assert encoder(stemmer="german", stop_words="none").query_terms(["Häuser"]) == [["haus"]]


def test_composed_and_decomposed_accents_are_one_term() -> None:
    bm25 = encoder()
    assert bm25.query_terms(["cafe\u0301"]) == bm25.query_terms(["caf\u00e9"])
    (span,) = bm25.term_spans("a cafe\u0301!")
    assert (span.start, span.end, span.term) == (2, 7, "café")


@settings(max_examples=80, deadline=None)
@given(st.lists(st.text(), max_size=6), st.integers(1, 6))
def test_the_vocabulary_grows_by_first_occurrence(texts: list[str], batch: int) -> None:
    whole, pieces = encoder(), encoder()
    counts = whole.encode_documents(texts)
    assert_canonical(counts, (len(texts), len(whole.vocabulary)))
    rows: list[dict[str, float]] = []
    for start in range(0, len(texts), batch):
        part = pieces.encode_documents(texts[start : start + batch])
        rows += [as_counts(part, row, pieces.vocabulary) for row in range(part.shape[0])]
    terms = whole.query_terms(texts)
    assert whole.vocabulary == pieces.vocabulary == list(dict.fromkeys(term for row in terms for term in row))
    assert rows == [Counter(row) for row in terms]
    assert [as_counts(counts, row, whole.vocabulary) for row in range(len(texts))] == rows
    # Where the terms stand agrees with what is counted.
    for text, row in zip(texts, terms, strict=True):
        if text.isascii():
            assert [span.term for span in whole.term_spans(text)] == row


def test_going_on_from_a_vocabulary() -> None:
    first = encoder()
    first.encode_documents(TEXTS)
    known = list(first.vocabulary)
    second = Bm25Encoder.from_options(EncoderOptions(), known)
    counts = second.encode_documents(["cats like zebras"])
    assert second.vocabulary == [*known, "like", "zebra"]
    assert as_counts(counts, 0, second.vocabulary) == {"cat": 1, "like": 1, "zebra": 1}


def test_the_cache_of_words_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from lsr.encoders import bm25_words

    monkeypatch.setattr(bm25_words, "_CACHED_WORDS", 3)
    small, large = encoder(), encoder()
    counts = small.encode_documents(TEXTS * 2)
    monkeypatch.undo()
    assert_equal(counts, large.encode_documents(TEXTS * 2))
    assert small.vocabulary == large.vocabulary


def test_max_length_cuts_documents_and_queries() -> None:
    bm25 = Bm25Encoder.from_options(EncoderOptions(max_length=2))
    counts = bm25.encode_documents(["the cat sat down", "dog cat mouse"])
    assert [as_counts(counts, row, bm25.vocabulary) for row in (0, 1)] == [{"cat": 1}, {"dog": 1, "cat": 1}]
    assert bm25.query_terms(["dog cat mouse"]) == [["dog", "cat"]]


@settings(max_examples=40, deadline=None)
@given(
    documents=st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=12), min_size=1, max_size=8).filter(
        any
    ),
    query=st.lists(st.sampled_from("abcdefghz"), max_size=6),
    k1=st.floats(0, 3),
    b=st.floats(0, 1),
)
def test_scores_equal_those_of_bm25s(
    documents: list[list[str]], query: list[str], k1: float, b: float
) -> None:
    bm25 = encoder(k1=k1, b=b, stop_words="none", stemmer="none")
    counts = bm25.encode_documents([" ".join(tokens) for tokens in documents])
    statistics = Statistics(bm25.vocabulary, counts)
    queries = bm25.encode_queries([" ".join(query)], statistics)
    ours = (queries @ bm25.weigh(counts).T).toarray()[0]

    peer = bm25s.BM25(method="lucene", k1=k1, b=b)
    peer.index(documents, show_progress=False)
    known = [token for token in query if token in bm25.vocabulary]
    theirs = peer.get_scores(known) if known else np.zeros(len(documents))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_weights_by_hand() -> None:
    counts = sparse.csr_array(np.array([[2, 1, 0], [0, 1, 0]], dtype=np.float32))
    weights = document_part(counts, k1=1.2, b=0.75, average_length=2.0).toarray()
    assert weights[0, 0] == pytest.approx(2 / (2 + 1.2 * (0.25 + 0.75 * 3 / 2)))
    assert weights[1, 1] == pytest.approx(1 / (1 + 1.2 * (0.25 + 0.75 * 1 / 2)))
    np.testing.assert_allclose(document_part(counts, 1.2, 0.75).toarray(), weights)
    idf = inverse_document_frequency(np.array([0, 1, 2]), 2)
    np.testing.assert_allclose(idf, [math.log(6), math.log(1 + 1.5 / 1.5), math.log(1 + 0.5 / 2.5)])


@pytest.mark.parametrize("rows", [0, 3])
def test_nothing_to_weigh(rows: int) -> None:
    nothing = sparse.csr_array(np.zeros((rows, 4), dtype=np.float32))
    assert document_part(nothing, 1.2, 0.75).shape == (rows, 4)


def test_queries() -> None:
    bm25 = encoder()
    statistics = Statistics(bm25.vocabulary, counts := bm25.encode_documents(TEXTS))
    queries = bm25.encode_queries(["cats cat dog zebra", "of the and", "", "zebra"], statistics)
    assert_canonical(queries, (4, counts.shape[1]))
    cat, dog = (math.log(1 + (5 - df + 0.5) / (df + 0.5)) for df in (2, 1))
    assert as_counts(queries, 0, bm25.vocabulary) == pytest.approx({"cat": 2 * cat, "dog": dog})
    assert queries.indptr.tolist() == [0, 2, 2, 2, 2]
    assert "zebra" not in bm25.vocabulary

    plain = bm25.encode_queries(["cats cat dog zebra"])
    assert as_counts(plain, 0, bm25.vocabulary) == {"cat": 2, "dog": 1}
    assert bm25.encode_queries([], statistics).shape == (0, counts.shape[1])


def test_the_query_side_is_saved_and_loaded(tmp_path: Path) -> None:
    bm25 = encoder(stemmer="porter", k1=0.9, b=0.4)
    statistics = Statistics(bm25.vocabulary, bm25.encode_documents(TEXTS))
    bm25.save_query_side(tmp_path)
    loaded = load_bm25_query_encoder(tmp_path)
    assert isinstance(loaded, QueryEncoder)
    assert loaded.settings == bm25.settings
    assert_equal(loaded.encode_queries(TEXTS, statistics), bm25.encode_queries(TEXTS, statistics))
    with pytest.raises(ValueError, match="statistics"):
        loaded.encode_queries(["cat"])


@pytest.mark.parametrize("content", [None, "", "[]", '{"kind": "splade"}', '{"kind": "bm25", "k9": 1}'])
def test_a_damaged_query_side(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "query_encoder.json").write_text(content)
    with pytest.raises(UserError):
        load_bm25_query_encoder(tmp_path)


def test_fingerprints_tell_settings_apart() -> None:
    made = [
        encoder(),
        encoder(k1=1.3),
        encoder(b=0.5),
        encoder(stemmer="none"),
        encoder(stop_words="none"),
        Bm25Encoder.from_options(EncoderOptions(max_length=9)),
    ]
    assert len({bm25.fingerprint() for bm25 in made}) == len(made)
    before = made[0].fingerprint()
    made[0].encode_documents(TEXTS)
    assert made[0].fingerprint() == before == encoder(k1=1.2, b=0.75).fingerprint()
    assert encoder(k1=1).fingerprint() == encoder(k1=1.0).fingerprint()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"k2": 1}, "no setting 'k2'; its settings are tokens, stop_words"),
        ({"k1": "much"}, "k1=much is not a number at least 0"),
        ({"k1": -0.1}, "k1=-0.1"),
        ({"k1": float("inf")}, "k1=inf"),
        ({"k1": True}, "k1=True"),
        ({"b": 1.1}, "b=1.1 is not a number from 0 to 1"),
        ({"b": float("nan")}, "b=nan"),
        ({"tokens": "letters"}, "tokens=letters is not among words, pieces"),
        ({"stop_words": "german"}, "stop_words=german is not among english, none"),
        ({"stemmer": "klingon"}, "stemmer=klingon is not among arabic"),
        ({"tokens": "pieces"}, "needs tokenizer="),
        ({"tokens": "pieces", "tokenizer": "x", "stemmer": "english"}, "stemmer=english is for tokens=words"),
        ({"tokenizer": "x"}, "is for tokens=pieces"),
        ({"max_length": 3}, "--max-length"),
    ],
)
def test_unusable_settings(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        encoder(**values)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [EncoderOptions(max_terms=5), EncoderOptions(idf="training"), EncoderOptions(long_documents="windows")],
)
def test_options_that_make_no_sense(options: EncoderOptions) -> None:
    with pytest.raises(UserError, match="does not go with bm25"):
        Bm25Encoder.from_options(options)
    Bm25Encoder.from_options(EncoderOptions(idf="corpus", batch_size=7, device="cuda", threads=3))
