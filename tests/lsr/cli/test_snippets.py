"""Snippets: the best window, whole words marked, one line, nothing that steers a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lsr.cli.results import printable
from lsr.cli.snippets import make_snippet
from lsr.encoders.base import TermSpan


def spans_of(text: str) -> list[TermSpan]:
    spans, place = [], 0
    for word in text.split():
        start = text.index(word, place)
        place = start + len(word)
        spans.append(TermSpan(start, place, word))
    return spans


def marked(text: str, scores: dict[str, float], width: int = 240) -> tuple[str, list[str]]:
    snippet = make_snippet(text, spans_of(text), scores, width)
    return snippet.text, [snippet.text[start:end] for start, end in snippet.marks]


def test_short_texts_are_shown_whole() -> None:
    assert marked("one two three", {"two": 1.0}) == ("one two three", ["two"])


def test_the_window_with_the_best_terms_wins() -> None:
    text = "weak " + "filler " * 100 + "strong and mighty " + "filler " * 100
    shown, marks = marked(text, {"weak": 0.1, "strong": 2.0, "mighty": 1.0})
    assert marks == ["strong", "mighty"]
    assert shown.startswith("… ")
    assert shown.endswith(" …")
    assert len(shown) < 260


def test_a_matched_piece_marks_its_whole_word() -> None:
    text = "unbelievable story"
    snippet = make_snippet(
        text, [TermSpan(2, 9, "##believ"), TermSpan(9, 12, "##able")], {"##believ": 1, "##able": 1}
    )
    assert [snippet.text[a:b] for a, b in snippet.marks] == ["unbelievable"]


def test_without_a_match_the_beginning_is_shown() -> None:
    assert marked("word " * 200, {})[0].startswith("word word")


@given(
    st.text(max_size=400),
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 9)), max_size=20),
    st.integers(10, 300),
)
def test_marks_stay_inside_one_printable_line(text: str, places: list[tuple[int, int]], width: int) -> None:
    spans = sorted(
        TermSpan(start, min(start + length, len(text)), f"t{start % 3}")
        for start, length in places
        if start < len(text)
    )
    snippet = make_snippet(text, spans, {"t0": 1.0, "t1": 2.0}, width)
    assert "\n" not in snippet.text
    assert snippet.text.replace("\u200c", "").replace("\u200d", "").isprintable()
    last = 0
    for start, end in snippet.marks:
        assert last <= start <= end <= len(snippet.text)
        last = end


def test_what_joins_characters_stays() -> None:
    family = "\U0001f469\u200d\U0001f467"
    assert marked(f"{family}  x", {"x": 1.0}) == (f"{family} x", ["x"])


def test_titles_cannot_steer_a_terminal() -> None:
    assert printable("\x1b[2Jred\nblue\u202e ") == "[2Jred blue"
