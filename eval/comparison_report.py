"""Compared runs for people at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsr.eval.console_report import escaped, say, table
from lsr.eval.explanations import ExplainedMove
from lsr.eval.headings import heading, p_value
from lsr.eval.run_comparison import RunComparison

if TYPE_CHECKING:
    from rich.console import Console


def print_comparison(compared: RunComparison, console: Console, *, notes: bool = True) -> None:
    """Print metrics, tests, and the queries that moved most."""
    first = heading(compared.metrics[0])
    console.print(
        f"{len(compared.scores[0].query_ids):,} judged queries of {compared.qrels}",
        highlight=False,
        markup=False,
    )
    quality = table("run", [*map(heading, compared.metrics), f"95 % of\n{first}", "unjudged\n@10"])
    for name, scores, interval in zip(compared.names, compared.scores, compared.intervals, strict=True):
        means = scores.mean()
        quality.add_row(
            escaped(name),
            *(f"{means[metric]:.4f}" for metric in compared.metrics),
            f"{interval.low:.3f} to {interval.high:.3f}",
            f"{scores.unjudged_share:.0%}",
        )
    console.print(quality)
    tests = table(
        f"against {escaped(compared.names[0])}",
        ["difference", "95 % interval", "won", "tied", "lost", "p", "p, t"],
    )
    for name, one in zip(compared.names[1:], compared.against_first, strict=True):
        test = one.comparison.test
        tests.add_row(
            escaped(name),
            f"{test.difference:+.4f}",
            f"{test.interval.low:+.4f} to {test.interval.high:+.4f}",
            f"{one.comparison.wins:,}",
            f"{one.comparison.ties:,}",
            f"{one.comparison.losses:,}",
            p_value(one.corrected),
            p_value(test.t_test),
        )
    console.print(tests)
    if notes:
        corrected = ", after Holm's correction" if len(compared.names) > 2 else ""
        say(
            console,
            f"{first}: interval by bootstrap over queries; p: Fisher's randomisation test{corrected}; "
            "p, t: paired t-test.",
        )
        for note in compared.notes:
            console.print(f"{note}.", style="yellow", highlight=False, markup=False)
    for name, one in zip(compared.names[1:], compared.against_first, strict=True):
        if one.moves:
            console.print(f"\nqueries that moved most, {compared.names[0]} to {name}", markup=False)
        for move in one.moves:
            _print_move(move, console)


def _print_move(move: ExplainedMove, console: Console) -> None:
    text = f"  {move.second - move.first:+.3f}  {move.query_id}"
    if move.query:
        text += f"  {move.query}"
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    if move.document_id is None:
        return
    ranks = f"{_rank(move.first_rank)} to {_rank(move.second_rank)}"
    title = f"  {move.title}" if move.title else ""
    say(console, f"          {move.document_id}, judged {move.judgement}: {ranks}{title}")
    if move.second_terms is not None:
        terms = ", ".join(
            f"{'' if one.in_query else '+'}{one.term} {one.score:.2f}" for one in move.second_terms
        )
        say(console, f"          {terms or 'no term in common'}")


def _rank(rank: int | None) -> str:
    return f"rank {rank:,}" if rank else "not retrieved"
