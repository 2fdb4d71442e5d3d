"""Blocking work in threads, bounded in number and time, for an event loop that must not wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from lsr.serving.interface import Unavailable

T = TypeVar("T")


class Overloaded(Unavailable):
    """More is asked for than the service takes on at once."""


class Late(Unavailable):
    """No answer within the time allowed."""

    status = 504


class Threads:
    """Runs calls in threads.

    Args:
        name: of the threads.
        count: how many there are.
        most: calls at work or waiting; one more is refused. A call whose caller has given up counts
            until it ends, since it takes a thread until then.
    """

    def __init__(self, name: str, count: int, most: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=f"lsr-{name}")
        self._most = most
        self.busy = 0
        """Calls at work or waiting."""

    async def run(self, call: Callable[[], T], seconds: float) -> T:
        """Return what `call` returns.

        Raises:
            Overloaded: where too many are at work.
            Late: where it takes longer than `seconds`. A call that has not begun will not; one that
                has goes on, its result unused.
        """
        if self.busy >= self._most:
            raise Overloaded("The service has too much to do at the moment; try again shortly.")
        loop = asyncio.get_running_loop()
        self.busy += 1
        future = self._pool.submit(call)
        future.add_done_callback(lambda done: self._finished(done, loop))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
        except asyncio.TimeoutError:
            raise Late(f"There was no answer within {seconds:g} seconds; ask for less.") from None

    def _finished(self, done: Future[T], loop: asyncio.AbstractEventLoop) -> None:
        # In the call's thread, or in the loop's where it was cancelled before it began.
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._count_down)

    def _count_down(self) -> None:
        self.busy -= 1

    def finish(self) -> None:
        """Wait for what is at work; what waits for a thread is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)
