"""What reading a corpus came to: counts, progress, and the first bad documents."""

from __future__ import annotations

from dataclasses import dataclass, field

from lsr.errors import UserError

EXAMPLES_KEPT = 5


class BadDocument(Exception):
    """One document that cannot be used; the message is the reason, without a location."""


@dataclass(slots=True)
class ReadReport:
    """Counts that grow while `lsr.corpus.read_corpus` is iterated.

    `passed_over` counts the files of a folder that are of no known kind. Bytes are those of the
    files on disk (compressed ones where they are compressed); `bytes_total` is None where a source
    cannot tell, as standard input.
    """

    documents: int = 0
    bad: int = 0
    bad_examples: list[str] = field(default_factory=list)
    passed_over: int = 0
    bytes_read: int = 0
    bytes_total: int | None = None

    @property
    def fraction(self) -> float | None:
        """Share of the bytes read so far, 0 to 1, or None where the total is unknown."""
        if self.bytes_total is None:
            return None
        if self.bytes_total == 0:
            return 1.0
        return min(1.0, self.bytes_read / self.bytes_total)

    def bad_document(self, location: str, reason: str, *, skip: bool) -> None:
        """Count a bad document, or raise `UserError` when they are not to be skipped."""
        if not skip:
            raise UserError(f"{location}: {reason}. Mend it, or pass --skip-bad to leave such documents out.")
        self.bad += 1
        if len(self.bad_examples) < EXAMPLES_KEPT:
            self.bad_examples.append(f"{location}: {reason}")

    def summary(self) -> str | None:
        """Return one sentence on what was left out, or None when nothing was."""
        parts = []
        if self.bad:
            unshown = self.bad - len(self.bad_examples)
            shown = "; ".join([*self.bad_examples, *([f"and {unshown} more"] if unshown else [])])
            parts.append(f"{self.bad} bad document{'s' * (self.bad != 1)} left out ({shown})")
        if self.passed_over:
            parts.append(f"{self.passed_over} file{'s' * (self.passed_over != 1)} of other kinds passed over")
        return "; ".join(parts) + "." if parts else None
