"""How results are shown: to people, with matched terms marked, and to machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lsr.cli.snippets import Snippet, make_snippet

if TYPE_CHECKING:
    from rich.console import Console

    from lsr.retrieval import Hit, Searcher, TermScore

_TERMS_SHOWN = 12
_FIELDS_SHOWN = 8
_VALUE_SHOWN = 60


def show_results(
    console: Console,
    searcher: Searcher,
    hits: Sequence[Hit],
    explanations: Sequence[Sequence[TermScore]],
    *,
    explain: bool,
    where: str | None = None,
) -> None:
    """Print results for people. Matched terms are bold on a terminal and in asterisks elsewhere."""
    from rich.text import Text

    if not hits:
        among = "" if where is None else " that the filter holds for also"
        console.print(f"No document{among} holds any term of this query.")
        return
    for rank, (hit, terms) in enumerate(zip(hits, explanations, strict=True), 1):
        head = Text(f"{rank:>3}. ", style="dim")
        head.append(f"{hit.score:.4g}", style="cyan")
        head.append("  ")
        head.append(printable(hit.title or hit.id), style="bold")
        if hit.title and not hit.title.startswith(hit.id):
            head.append(f"  {printable(hit.id)}", style="dim")
        console.print(head, soft_wrap=True)
        if hit.text:
            snippet = hit_snippet(searcher, hit, terms)
            console.print(Text("     ") + _marked(snippet, color=console.is_terminal), soft_wrap=True)
        if hit.metadata:
            console.print(Text("     ").append(_fields_line(hit.metadata), style="dim"), soft_wrap=True)
        if explain:
            _show_terms(console, hit, terms)


def _fields_line(metadata: Mapping[str, Any]) -> str:
    """Return a document's fields on one line, long values cut."""
    parts = []
    for name, value in list(metadata.items())[:_FIELDS_SHOWN]:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        text = printable(text)
        parts.append(
            f"{printable(name)}: {text if len(text) <= _VALUE_SHOWN else text[: _VALUE_SHOWN - 1] + '…'}"
        )
    more = len(metadata) - _FIELDS_SHOWN
    return "  ".join(parts) + (f"  and {more} more" if more > 0 else "")


def printable(text: str) -> str:
    """Return `text` on one line, without characters that would steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _marked(snippet: Snippet, *, color: bool) -> Any:
    from rich.text import Text

    text = Text()
    place = 0
    for start, end in snippet.marks:
        text.append(snippet.text[place:start])
        word = snippet.text[start:end]
        text.append(word if color else f"*{word}*", style="bold yellow")
        place = end
    text.append(snippet.text[place:])
    return text


def _show_terms(console: Console, hit: Hit, terms: Sequence[TermScore]) -> None:
    """Print which terms earned the score and how much, those added by the encoder marked."""
    from rich.text import Text

    widest = max((len(term.term) for term in terms[:_TERMS_SHOWN]), default=0)
    for term in terms[:_TERMS_SHOWN]:
        share = term.score / hit.score if hit.score else 0.0
        line = Text(f"       {printable(term.term):<{widest}}  ")
        line.append(f"{term.score:>8.4g}", style="cyan")
        line.append(f" {share:>4.0%} ")
        line.append(f"{'█' * round(share * 20):<20}", style="cyan")
        line.append(f"  query {term.weight:.4g} × document {term.impact:.4g}", style="dim")
        added = expansion_of(term)
        if added:
            line.append(f"  + expansion of the {added}", style="green")
        console.print(line, soft_wrap=True)
    if len(terms) > _TERMS_SHOWN:
        rest = terms[_TERMS_SHOWN:]
        earned = sum(term.score for term in rest)
        console.print(f"       and {len(rest)} more terms: {earned:.4g}", style="dim")


def expansion_of(term: TermScore) -> str:
    """Tell which text the encoder added a term to: ``query``, ``document``, both or neither (empty)."""
    added = [name for name, own in (("query", term.in_query), ("document", term.in_document)) if not own]
    return " and the ".join(added)


def hit_snippet(searcher: Searcher, hit: Hit, terms: Sequence[TermScore]) -> Snippet:
    """Return the snippet of a result's text."""
    text = hit.text or ""
    scores = {term.term: term.score for term in terms}
    return make_snippet(text, searcher.encoder.term_spans(text), scores)


def result_as_dict(
    searcher: Searcher, rank: int, hit: Hit, terms: Sequence[TermScore], *, explain: bool
) -> dict[str, Any]:
    """Return one result as JSON values."""
    snippet = hit_snippet(searcher, hit, terms)
    result: dict[str, Any] = {
        "rank": rank,
        "id": hit.id,
        "score": hit.score,
        "title": hit.title,
        "snippet": snippet.text,
        "marks": [list(mark) for mark in snippet.marks],
        "metadata": hit.metadata,
    }
    if explain:
        result["terms"] = [_term_as_dict(term) for term in terms]
    return result


def _term_as_dict(term: TermScore) -> Mapping[str, Any]:
    return {
        "term": term.term,
        "score": term.score,
        "weight": term.weight,
        "impact": term.impact,
        "in_query": term.in_query,
        "in_document": term.in_document,
    }
