"""Batches sized in tokens, texts of like length together, halved when memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from lsr.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
_log = logging.getLogger("lsr")

# [texts, vocabulary] numbers held for one batch: 128 MB. Binds for batches of very short texts.
POOLED_NUMBERS = 1 << 25


def token_batches(lengths: Sequence[int], tokens_a_batch: int, texts_a_batch: int) -> Iterator[list[int]]:
    """Yield lists of positions into `lengths`, longest texts first.

    A batch's texts, padded to its longest, make at most `tokens_a_batch` tokens, or it is one text
    alone; a batch has at most `texts_a_batch` texts. Texts of length 0 are left out.
    """
    order = sorted((i for i, length in enumerate(lengths) if length), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        fitting = max(1, min(tokens_a_batch // lengths[order[start]], texts_a_batch))
        yield order[start : start + fitting]
        start += fitting


def one_ahead(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield `work` of each item in order; a thread does the next one while the last is used."""
    with ThreadPoolExecutor(1) as thread:
        waiting: Future[Result] | None = None
        for item in items:
            following = thread.submit(work, item)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


class MemoryGuard:
    """Runs batches, and halves them from then on when one does not fit in memory."""

    def __init__(self) -> None:
        self.halvings = 0

    def run(
        self, batch: list[int], work: Callable[[list[int]], Result]
    ) -> Iterator[tuple[list[int], Result]]:
        """Yield (positions, result) for `batch`, in as many parts as memory asks for."""
        waiting = [batch]
        while waiting:
            part = waiting.pop()
            # Batches that come after a shortage start out as small as the ones that fitted.
            if len(part) > 1 and len(part) > len(batch) >> self.halvings:
                waiting += [part[len(part) // 2 :], part[: len(part) // 2]]
                continue
            try:
                result = work(part)
            except (RuntimeError, MemoryError) as error:
                if not _is_shortage(error):
                    raise
                if len(part) == 1:
                    raise UserError(
                        "memory ran out on a single text; lower --max-length, or use another --device."
                    ) from None
            else:
                yield part, result
                continue
            # Only here, behind the handler, are the failed batch's tensors gone.
            self._halve()
            waiting.append(part)

    def _halve(self) -> None:
        if not self.halvings:
            _log.warning(
                "memory ran out: batches are halved and tried again; --batch-size sets them from the start"
            )
        self.halvings += 1
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _is_shortage(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text or "alloc_failed" in text
