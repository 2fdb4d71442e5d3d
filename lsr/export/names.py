"""Names of terms for engines that know terms by name, and forbid some characters in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def engine_names(terms: Sequence[str], rename: Callable[[str], str] | None = None) -> list[str]:
    """Return a distinct name for each term: the term itself wherever the engine takes it.

    Args:
        terms: the string of every id; strings may repeat.
        rename: returns a term as the engine takes it, and most terms unchanged. Where the result is
            another term's name already, ``#ID`` is put behind it.
    """
    renamed = terms if rename is None else [rename(term) for term in terms]
    # Terms that keep their string come first: one that was renamed must not take it from them.
    taken = {term for term, name in zip(terms, renamed, strict=True) if term == name}
    names = []
    seen: set[str] = set()
    for term_id, (term, name) in enumerate(zip(terms, renamed, strict=True)):
        if name in seen or (name != term and name in taken):
            name = f"{name}#{term_id}"
            while name in seen or name in taken:
                name += "#"
        seen.add(name)
        names.append(name)
    return names


def without_dots(term: str) -> str:
    """Return a term without dots, as Elasticsearch's own sparse encoder names such tokens."""
    return term.replace(".", "__")


def without_spaces(term: str) -> str:
    """Return a term that an analyzer which splits at white space keeps whole."""
    return "".join("_" if letter.isspace() else letter for letter in term)
