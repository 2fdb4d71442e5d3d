"""Terms' names in engines that forbid some characters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lsr.export.names import engine_names, without_dots, without_spaces


def test_a_renamed_term_takes_no_other_terms_name() -> None:
    assert engine_names(["a.b", "a__b", "c"], without_dots) == ["a__b#0", "a__b", "c"]
    assert engine_names(["a b", "a\tb"], without_spaces) == ["a_b", "a_b#1"]


def test_equal_terms_are_told_apart() -> None:
    assert engine_names(["x", "x", "x#1", "x"]) == ["x", "x#1#", "x#1", "x#3"]


@given(st.lists(st.text("a._ #1", max_size=4), max_size=30))
def test_names_are_distinct_and_allowed(terms: list[str]) -> None:
    names = engine_names(terms, without_dots)
    assert len(set(names)) == len(terms)
    assert not any("." in name for name in names)
    # The first of a string keeps it where it is allowed.
    first = {term: i for i, term in reversed(list(enumerate(terms)))}
    assert all(names[i] == term for term, i in first.items() if "." not in term)
