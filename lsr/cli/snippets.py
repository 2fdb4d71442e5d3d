"""Snippets: the part of a text that says most about why it was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lsr.encoders.base import TermSpan

WIDTH = 240
# Not printable, but what is written with them (Persian, Hindi, families of emoji) falls apart without.
_JOINERS = "\u200c\u200d"


class Snippet(NamedTuple):
    """A piece of text on one line; `marks` are the places in it where matched terms stand."""

    text: str
    marks: list[tuple[int, int]]


def make_snippet(
    text: str, spans: Sequence[TermSpan], scores: Mapping[str, float], width: int = WIDTH
) -> Snippet:
    """Return the window of `text` whose distinct matched terms earned the most.

    Args:
        spans: where the terms of `text` stand.
        scores: what each matched term earned.
        width: characters of the window, about.
    """
    matched = [span for span in spans if span.term in scores]
    start = _best_start(matched, scores, width)
    # A little of what stands before the first match, from the start of a word.
    start = max(0, start - width // 6)
    if start:
        space = text.find(" ", start)
        start = space + 1 if 0 <= space < start + 30 else start
    stop = min(len(text), start + width)
    if stop < len(text):
        space = text.rfind(" ", start, stop)
        stop = space if space > start + width // 2 else stop
    marks = _whole_words(text, [(s.start, s.end) for s in matched if start <= s.start and s.end <= stop])
    return _one_line(
        text[start:stop], [(a - start, b - start) for a, b in marks], start > 0, stop < len(text)
    )


def _best_start(matched: Sequence[TermSpan], scores: Mapping[str, float], width: int) -> int:
    """Return where the window begins that holds the most valuable set of terms; 0 without a match."""
    best, best_start = 0.0, 0
    value, last = 0.0, 0
    counts: dict[str, int] = {}
    # The window slides from match to match; it is worth what the distinct terms in it earned.
    for span in matched:
        while last < len(matched) and matched[last].start < span.start + width * 5 // 6:
            term = matched[last].term
            counts[term] = counts.get(term, 0) + 1
            value += scores[term] if counts[term] == 1 else 0.0
            last += 1
        if value > best * 1.0001:
            best, best_start = value, span.start
        counts[span.term] -= 1
        value -= scores[span.term] if counts[span.term] == 0 else 0.0
    return best_start


def _whole_words(text: str, places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Widen places to whole words (a match may be one piece of a word) and join those that touch."""
    joined: list[tuple[int, int]] = []
    for start, end in places:
        while start > 0 and text[start - 1].isalnum():
            start -= 1
        while end < len(text) and text[end].isalnum():
            end += 1
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _one_line(text: str, marks: list[tuple[int, int]], cut_before: bool, cut_after: bool) -> Snippet:
    """Fold white space and move the marks with the text."""
    if text.isprintable() and "  " not in text and not text.startswith(" "):  # Most are.
        shift = 2 if cut_before else 0
        folded = "… " * cut_before + text.rstrip() + " …" * cut_after
        return Snippet(folded, [(start + shift, end + shift) for start, end in marks])
    pieces: list[str] = ["… "] if cut_before else []
    length = len(pieces[0]) if pieces else 0
    moved: dict[int, int] = {}
    space = True
    for place, character in enumerate(text):
        moved[place] = length
        if character.isspace() or not (character.isprintable() or character in _JOINERS):
            if not space:
                pieces.append(" ")
                length += 1
            space = True
        else:
            pieces.append(character)
            length += 1
            space = False
    moved[len(text)] = length
    folded = "".join(pieces).rstrip()
    if cut_after:
        folded += " …"
    return Snippet(folded, [(moved[start], moved[end]) for start, end in marks if moved[end] <= len(folded)])
