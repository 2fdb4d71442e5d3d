"""Progress bars on standard error: how many, how fast, how long still."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class ProgressBar:
    """Counts items done. Does nothing where no bar is shown."""

    def __init__(self, bar: Any = None, task: Any = None, fraction: Callable[[], float | None] | None = None):
        self._bar = bar
        self._task = task
        self._fraction = fraction
        self._done = 0

    def advance(self, count: int = 1) -> None:
        """Count `count` more items as done."""
        self._done += count
        if self._bar is None:
            return
        if self._fraction is not None:
            # The number of items is unknown, but the share of the input that has been read is.
            share = self._fraction()
            total = self._done / share if share else None
            self._bar.update(self._task, completed=self._done, total=total)
        else:
            self._bar.update(self._task, completed=self._done)


@contextmanager
def progress(
    description: str,
    total: int | None = None,
    unit: str = "documents",
    quiet: bool = False,
    fraction: Callable[[], float | None] | None = None,
) -> Iterator[ProgressBar]:
    """Show a bar with items a second and time left while the block runs.

    `fraction` tells, where `total` is unknown, how much of the input has been read (0 to 1). Nothing
    is shown when `quiet`, or when standard error is not a terminal.
    """
    if quiet or not sys.stderr.isatty():
        yield ProgressBar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Items done and items a second, over the whole run."""

        def render(self, task: Task) -> Text:
            seconds = task.elapsed or 0.0
            rate = task.completed / seconds if seconds else 0.0
            shown = f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
            return Text(f"{int(task.completed):,} {unit}, {shown}/s", no_wrap=True)

    class Left(ProgressColumn):
        """Time left, from the mean rate so far."""

        def render(self, task: Task) -> Text:
            if not task.total or not task.completed or not task.elapsed:
                return Text("")
            left = int(task.elapsed * (task.total - task.completed) / task.completed)
            minutes, seconds = divmod(max(left, 0), 60)
            hours, minutes = divmod(minutes, 60)
            shown = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
            return Text(f"{shown} left", style="cyan", no_wrap=True)

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        Rate(),
        Left(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(description, total=total)
        yield ProgressBar(bar, task, fraction if total is None else None)
