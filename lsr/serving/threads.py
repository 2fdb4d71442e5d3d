"""Blocking work in threads, bounded in number and time, for an event loop that must not wait."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
        answer: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            try:
                done = functools.partial(answer.set_result, call())
            except BaseException as error:
                done = functools.partial(answer.set_exception, error)
            # The loop may be gone, where the server was stopped by force.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, done)

        def settle(done: Callable[[], None]) -> None:
            self.busy -= 1
            if not answer.done():
                done()

        def give_up() -> None:
            if not answer.done():
                answer.set_exception(Late(f"There was no answer within {seconds:g} seconds; ask for less."))

        self.busy += 1
        working = self._pool.submit(work)
        timer = loop.call_later(seconds, give_up)
        try:
            return await answer
        finally:
            timer.cancel()
            if working.cancel():  # It waited for a thread still.
                self.busy -= 1

    def finish(self) -> None:
        """Wait for what is at work; what waits for a thread is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)
