"""Title and text of one file of prose: plain text, Markdown, reStructuredText, HTML."""

from __future__ import annotations

import re
import warnings

_HEADING_MARKDOWN = re.compile(r"\A\s*#{1,6}[ \t]+(.+?)[ \t]*#*[ \t]*(?:\n|\Z)")
# A line under a line (Markdown's setext headings, reStructuredText), or above and below it.
_HEADING_UNDERLINED = re.compile(
    r"\A\s*(?:([=\-~^\"'`#*+.:_])\1{2,}[ \t]*\n)?"
    r"[ \t]*(\S[^\n]*?)[ \t]*\n"
    r"([=\-~^\"'`#*+.:_])\3{2,}[ \t]*(?:\n|\Z)"
)
_BLANKS = re.compile(r"[^\S\n]+")
_BLANK_LINES = re.compile(r"\s*\n\s*")

_DROPPED = ("script", "style", "template", "noscript", "title")
# Elements that end a line; all others (b, a, span) run on inside a word.
# fmt: off
_BLOCKS = (
    "address", "article", "aside", "blockquote", "br", "caption", "dd", "details", "dialog", "div",
    "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5",
    "h6", "header", "hr", "legend", "li", "main", "nav", "ol", "option", "p", "pre", "section",
    "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
)
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
    heading = soup.find("title")
    title = " ".join(heading.get_text().split()) if heading else ""
    for element in soup.find_all(_DROPPED):
        element.decompose()
    for element in soup.find_all(_BLOCKS):
        element.insert_before("\n")
        element.insert_after("\n")
    if not title and (heading := soup.find("h1")):
        title = " ".join(heading.get_text().split())
    text = _BLANK_LINES.sub("\n", _BLANKS.sub(" ", soup.get_text()))
    return title, text.strip()
