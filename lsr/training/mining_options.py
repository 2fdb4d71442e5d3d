"""Which of the documents found become negatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from lsr.errors import UserError
from lsr.training.settings import TeacherSettings

_TEACHERS = ("dense", "sparse", "cross-encoder")


@dataclass(frozen=True, slots=True)
class MineOptions:
    """How negatives are chosen.

    `first_rank` to `last_rank`, from 1, are looked at. A document whose score is above the positive's less
    `margin` (`relative`: less that share of the positive's absolute value) is left out; None keeps all.
    Of the others `negatives` are taken, the best ranked or at random by `seed`. `teacher` scores in place
    of the search.
    """

    first_rank: int = 1
    last_rank: int = 100
    negatives: int = 8
    margin: float | None = 0.0
    relative: bool = False
    pick: Literal["top", "random"] = "top"
    teacher: TeacherSettings | None = None
    seed: int = 0

    @classmethod
    def parse(
        cls,
        *,
        ranks: str,
        negatives: int,
        margin: str,
        pick: Literal["top", "random"],
        teacher: str | None,
        seed: int,
    ) -> MineOptions:
        """Return the options of a command line: ``10-100``, ``0.5``, ``5%`` or ``none``, ``dense:MODEL``."""
        first, dash, last = ranks.partition("-")
        if not (dash and first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
            raise UserError(f"--ranks {ranks!r} is not of the form FIRST-LAST, for example 10-100.")
        value, relative = _margin(margin)
        return cls(int(first), int(last), negatives, value, relative, pick, _teacher(teacher), seed)

    def ceiling(self, positive: float) -> float:
        """Return the highest score that a negative may have beside a positive's."""
        if self.margin is None:
            return float("inf")
        return positive - (self.margin * abs(positive) if self.relative else self.margin)


def _margin(text: str) -> tuple[float | None, bool]:
    if text == "none":
        return None, False
    relative = text.endswith("%")
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        raise UserError(f"--margin {text!r} is not a number, a percentage such as 5%, or none.") from None
    return (value / 100 if relative else value), relative


def _teacher(text: str | None) -> TeacherSettings | None:
    if text is None:
        return None
    kind, _, model = text.partition(":")
    if kind not in _TEACHERS or not model:
        raise UserError(f"--teacher {text!r} is not of the form KIND:MODEL with KIND {', '.join(_TEACHERS)}.")
    return TeacherSettings(kind=cast(Literal["dense", "sparse", "cross-encoder"], kind), model=model)
