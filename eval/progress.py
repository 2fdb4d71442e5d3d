"""What evaluation asks of a progress display, and the display that shows nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Advance(Protocol):
    """A display that is being shown."""

    def advance(self, count: int = 1) -> None:
        """Count `count` more units as done."""


class Progress(Protocol):
    """Opens a display for one stage."""

    def __call__(
        self,
        description: str,
        total: int | None = None,
        unit: str = "documents",
        *,
        fraction: Callable[[], float | None] | None = None,
    ) -> AbstractContextManager[Advance]:
        """Return a context manager that shows progress until it is left.

        `fraction` tells the share of the work that is done where the total is unknown.
        """


class _Silent:
    def advance(self, count: int = 1) -> None:
        pass


@contextmanager
def silent(
    description: str,
    total: int | None = None,
    unit: str = "documents",
    *,
    fraction: Callable[[], float | None] | None = None,
) -> Iterator[Advance]:
    """Show nothing."""
    yield _Silent()
