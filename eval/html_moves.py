"""The report's part on single queries: which moved, and by which terms."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from lsr.eval.experiment import Difference, Experiment
from lsr.eval.explanations import ExplainedMove, TermShare


def moves_section(experiment: Experiment, differences: Sequence[Difference]) -> str:
    """Return the queries that moved most between the baseline and each system, folded."""
    parts = []
    for system in experiment.others:
        own = [one for one in differences if one.system == system and one.moves]
        if not own:
            continue
        inner = "".join(
            f"<details><summary>{escape(one.row or '')}</summary>"
            + "".join(_move(move, experiment.baseline, system) for move in one.moves)
            + "</details>"
            for one in own
        )
        name = f"{escape(system)} against {escape(experiment.baseline)}"
        parts.append(f"<details><summary>{name}</summary>{inner}</details>")
    if not parts:
        return ""
    note = (
        "The queries with the largest gains and losses, each with the relevant document whose rank changed most, and "
        "what its terms earned it in either system, where a system has terms. A dashed term is not in the query: it was added."
    )
    return f'<p class="note">{note}</p>' + "".join(parts)


def _move(move: ExplainedMove, baseline: str, system: str) -> str:
    difference = move.second - move.first
    way = "up" if difference > 0 else "down"
    text = escape(move.query or move.query_id)
    parts = [
        f'<p><strong>{text}</strong> <span class="soft">{escape(move.query_id)}</span></p>',
        f'<p>{move.first:.3f} → {move.second:.3f} <span class="{way}">{difference:+.3f}</span></p>',
    ]
    if move.document_id is None:
        parts.append('<p class="soft">Neither system found a relevant document.</p>')
        return f'<div class="move">{"".join(parts)}</div>'
    title = escape(move.title) if move.title else ""
    parts.append(
        f"<p>{title} <span class='soft'>{escape(move.document_id)}, judged {move.judgement}</span>: "
        f"{_rank(move.first_rank)} → {_rank(move.second_rank)}</p>"
    )
    for label, terms in ((baseline, move.first_terms), (system, move.second_terms)):
        if terms is not None:
            parts.append(f"<p class='soft'>{escape(label)}</p>{_terms(terms)}")
    return f'<div class="move">{"".join(parts)}</div>'


def _rank(rank: int | None) -> str:
    return f"rank {rank:,}" if rank else "not found"


def _terms(terms: Sequence[TermShare]) -> str:
    if not terms:
        return "<p class='soft'>no term in common</p>"
    items = "".join(
        f"<li{'' if one.in_query else ' class=added'}>{escape(one.term)} <b>{one.score:.2f}</b></li>"
        for one in terms
    )
    return f'<ul class="terms">{items}</ul>'
