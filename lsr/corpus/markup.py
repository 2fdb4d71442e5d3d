"""Title and text of one file of prose: plain text, Markdown, reStructuredText, HTML."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bs4.element import PageElement

_HEADING_MARKDOWN = re.compile(r"\A\s*#{1,6}[ \t]+(.+?)[ \t]*#*[ \t]*(?:\n|\Z)")
# A line under a line (Markdown's setext headings, reStructuredText), or above and below it.
_HEADING_UNDERLINED = re.compile(
    r"\A\s*(?:([=\-~^\"'`#*+.:_])\1{2,}[ \t]*\n)?"
    r"[ \t]*(\S[^\n]*?)[ \t]*\n"
    r"([=\-~^\"'`#*+.:_])\3{2,}[ \t]*(?:\n|\Z)"
)
_BLANKS = re.compile(r"[^\S\n]+")
_BLANK_LINES = re.compile(r"\s*\n\s*")

_DROPPED = frozenset(("script", "style", "template", "noscript", "title"))
# Elements that end a line; all others (b, a, span) run on inside a word.
# fmt: off
_BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "br", "caption", "dd", "details", "dialog", "div",
    "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5",
    "h6", "header", "hr", "legend", "li", "main", "nav", "ol", "option", "p", "pre", "section",
    "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
))
# fmt: on


def split_plain(content: str) -> tuple[str, str]:
    """Return (title, text) of plain text: it has no title of its own."""
    return "", content


def split_headed(content: str) -> tuple[str, str]:
    """Return (title, text) of Markdown or reStructuredText.

    A heading that opens the file is the title and is taken out of the text; the rest stays as it is.
    """
    for pattern, group in ((_HEADING_MARKDOWN, 1), (_HEADING_UNDERLINED, 2)):
        match = pattern.match(content)
        if match:
            return match.group(group), content[match.end() :]
    return "", content


def split_html(content: str) -> tuple[str, str]:
    """Return (title, text) of HTML: ``<title>``, else the first ``<h1>``; scripts and styles dropped."""
    from bs4 import BeautifulSoup

    with warnings.catch_warnings():
        # Beautiful Soup warns about content that looks like a file name or like XML.
        warnings.simplefilter("ignore")
        soup = BeautifulSoup(content, "html.parser")
    heading = soup.find("title") or soup.find("h1")
    title = " ".join("".join(_strings(heading)).split()) if heading else ""
    text = _BLANK_LINES.sub("\n", _BLANKS.sub(" ", "".join(_strings(soup))))
    return title, text.strip()


def _strings(element: PageElement) -> Iterator[str]:
    """Yield the text below `element` with a line break at both ends of every block, in one pass.

    Beautiful Soup's own ways to put line breaks in (`insert_before`, `append`) look for their place
    each time, which is quadratic in the size of a page; recursion would not reach the deepest ones.
    """
    from bs4.element import CData, NavigableString, Tag

    open_elements = [(False, iter([element]))]
    while open_elements:
        is_block, children = open_elements[-1]
        child = next(children, None)
        if child is None:
            open_elements.pop()
            if is_block:
                yield "\n"
        elif isinstance(child, Tag):
            if child.name in _DROPPED and child is not element:
                continue
            if child.name in _BLOCKS:
                yield "\n"
            open_elements.append((child.name in _BLOCKS, iter(child.contents)))
        elif type(child) in (NavigableString, CData):  # not its subclasses: comments, declarations
            yield str(child)
