"""Where matched terms stand, what is called an expansion, and what is remembered of it."""

from __future__ import annotations

import threading
from dataclasses import astuple
from pathlib import Path
from typing import Any

import lsr
from lsr.corpus import Document
from lsr.encoders.base import TermSpan
from lsr.encoders.options import EncoderOptions
from lsr.retrieval import Searcher, TermScore
from lsr.serving.highlighting import Explainer, SpanCache


class Pieces:
    """An encoder whose terms are given places in any text."""

    def __init__(self, *spans: TermSpan) -> None:
        self.spans = list(spans)
        self.asked = 0

    def term_spans(self, text: str) -> list[TermSpan]:
        self.asked += 1
        return self.spans


def explainer(encoder: Any, folder: Path) -> Explainer:
    searcher = Searcher(folder)
    searcher.encoder = encoder
    return Explainer(searcher, None, searcher.vector_queries([{}]), SpanCache())


def score(term: str, earned: float, *, asked: bool = True) -> TermScore:
    return TermScore(term, 1.0, earned, earned, asked, True)


def test_marks_are_whole_words_and_name_what_earned_most(folder: Path) -> None:
    text = "unbelievable car-wash"
    pieces = Pieces(
        TermSpan(2, 9, "##believ"),
        TermSpan(9, 12, "##able"),
        TermSpan(13, 16, "car"),
        TermSpan(17, 21, "wash"),
    )
    terms = [score("##believ", 1.0), score("##able", 2.0, asked=False), score("wash", 0.5)]
    marks = explainer(pieces, folder).marks(text, terms)
    assert [(text[m.start : m.end], m.term, m.score, m.expansion) for m in marks] == [
        ("unbelievable", "##able", 2.0, True),
        ("wash", "wash", 0.5, False),
    ]


def test_a_small_part_of_a_word_is_marked_alone(folder: Path) -> None:
    text = "analyzer shlex"
    pieces = Pieces(TermSpan(7, 8, "##r"), TermSpan(9, 11, "sh"))
    marks = explainer(pieces, folder).marks(text, [score("##r", 1.0), score("sh", 2.0)])
    assert [(text[m.start : m.end], m.term) for m in marks] == [("r", "##r"), ("sh", "sh")]


def test_terms_name_the_word_of_the_query_that_they_come_from(tmp_path: Path) -> None:
    folder = tmp_path / "an.index"
    rows = [Document("a", "The zyxquorps of unbelievable boundaries"), Document("b", "a doctor")]
    options = EncoderOptions(threads=1, settings={"terms": "words"})
    lsr.build_index(rows, folder, "default-tiny", options=options, durable=False)
    query = "Which boundary has a zyxquorp?"
    with lsr.Searcher(folder) as searcher:
        made = Explainer(searcher, query, searcher.encode_queries([query]), SpanCache())
        terms = {term.term: term for term in made.terms(0, "", rows[0].text)}
        weights = searcher.vector_queries([{"boundary": 1.0}])
        assert [t.word for t in Explainer(searcher, None, weights, SpanCache()).terms(0, "", "")] == [None]
    assert terms["zyxquorp*"].word == "zyxquorp"
    assert {term.word for term in terms.values()} == {"zyxquorp", "boundary"}
    pieces = [term for term in terms.values() if term.word == "zyxquorp"]
    assert len(pieces) > 1


def test_scripts_without_spaces_are_marked_where_the_term_is(folder: Path) -> None:
    text = "太阳能电池板"
    marks = explainer(Pieces(TermSpan(3, 5, "电池")), folder).marks(text, [score("电池", 1.0)])
    assert [text[m.start : m.end] for m in marks] == ["电池"]
    text = "배터리를 샀다"
    marks = explainer(Pieces(TermSpan(0, 3, "배터리")), folder).marks(text, [score("배터리", 1.0)])
    assert [text[m.start : m.end] for m in marks] == ["배터리를"]


def test_explanations_are_the_librarys(tmp_path: Path) -> None:
    folder = tmp_path / "an.index"
    rows = [
        Document(str(n), f"word{n % 7} other{n % 3} and more words", f"Title word{n % 5}") for n in range(50)
    ]
    lsr.build_index(rows, folder, "bm25", durable=False)
    with lsr.Searcher(folder) as searcher:
        for query in ("word1 other2 title", "words more nothing", "word4"):
            weights = searcher.encode_queries([query])
            made = Explainer(searcher, query, weights, SpanCache())
            for hit in searcher.search(query, 5):
                told = made.terms(hit.number, hit.title, hit.text)
                assert [astuple(term)[:-1] for term in told] == [
                    astuple(term) for term in searcher.explain(query, hit, weights)
                ]
                assert {term.word for term in told} <= set(query.split())


def test_what_is_remembered_is_bounded_and_forgotten_with_its_encoder() -> None:
    cache = SpanCache(characters=1_000)
    encoder: Any = Pieces()
    for n in range(100):
        cache.spans(f"{n:0100}", encoder)
    assert cache._held <= 1_000
    assert encoder.asked == 100
    cache.spans(f"{99:0100}", encoder)
    assert encoder.asked == 100
    cache.spans("x" * 500, encoder)  # too long to push everything else out
    cache.spans("x" * 500, encoder)
    assert encoder.asked == 102
    other: Any = Pieces(TermSpan(0, 1, "x"))
    assert cache.spans(f"{99:0100}", other) == [TermSpan(0, 1, "x")]


def test_it_is_safe_from_several_threads() -> None:
    cache = SpanCache(characters=2_000)
    encoder: Any = Pieces(TermSpan(0, 1, "x"))
    problems: list[object] = []

    def ask(seed: int) -> None:
        for n in range(3_000):
            if cache.spans(f"{(n * seed) % 97:050}", encoder) != encoder.spans:
                problems.append(n)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in (1, 2, 3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert cache._held == sum(map(len, cache._known)) <= 2_000
