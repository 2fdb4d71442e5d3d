"""A sharded index whose shards are searched elsewhere, as the HTTP service sees it.

Queries are encoded, and documents, terms and statistics read, from the folder of the index, which all
machines see. Only searching is spread: every shard is asked at once, and what they find is merged in
the order of shards, which gives the documents, scores and order of one index. A shard that does not
answer in time is left out, and the answer names it.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from scipy import sparse

from lsr.cluster.shard_service import ShardAnswer, ShardQuery
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.index import Hits, ShardedIndex
from lsr.index.errors import FilterProblem
from lsr.index.filters import Filter
from lsr.index.hits import merge_hits
from lsr.retrieval import Searcher
from lsr.serving.interface import IndexInfo, Refusal, SearchOptions, Unavailable
from lsr.serving.local import LocalIndex

# A shard that did not answer the last time is waited for as long only, so that others' results are not late.
_SHORT_SECONDS = 0.2
# Seconds between tries to ask a shard that nobody answers for, and between looks at several answers.
_LOOK_AGAIN = 0.02
# Another replica is asked where one takes longer than this, and so many times as long as usual; and so on,
# up to so many at once.
_HEDGE_SECONDS = 0.3
_HEDGE_TIMES = 5.0
_MOST_ASKED = 4


class Lost(Exception):
    """What was asked is gone, and may be asked again."""


class Pending(Protocol):
    """An answer that is under way."""

    def result(self, seconds: float) -> ShardAnswer:
        """Wait for it.

        Raises:
            TimeoutError: where it takes longer; it may still be waited for.
            Lost: where it will never come.
        """

    def cancel(self) -> None:
        """Say that nobody waits any more."""


class Shards(Protocol):
    """The shards of an index, wherever they are."""

    def ask(self, shard: int, query: ShardQuery) -> Pending:
        """Have a shard searched; raises `Lost` where nobody can be asked."""


class ClusterIndex(LocalIndex):
    """A sharded index; a `lsr.serving.interface.ServedIndex`.

    Args:
        folder: the sharded index, as this machine sees it.
        name: what the service calls it.
        shards: who searches.
        options: ``idf``, ``device`` and ``threads`` of the query encoder.
        shard_seconds: a shard that has not answered by then is left out.

    Raises:
        lsr.index.IndexProblem: where the folder is no sharded index, or damaged.
    """

    def __init__(
        self,
        folder: str | Path,
        name: str,
        shards: Shards,
        *,
        options: EncoderOptions | None = None,
        shard_seconds: float = 5.0,
    ) -> None:
        super().__init__(folder, name, options=options)
        self._shards = shards
        self._shard_seconds = shard_seconds
        self._away: set[int] = set()
        self._usual_seconds = 0.0
        self._lock = threading.Lock()

    def wait_for_shards(self, seconds: float) -> None:
        """Return when every shard answers, or after so long."""
        with self._snapshots.newest() as searcher:
            index = _sharded(searcher)
            nothing = sparse.csr_array(np.zeros((1, index.vocabulary_size), np.float32))
            query = ShardQuery.of(nothing, 1, None, seconds)
            count = len(index.shards)
        until = time.monotonic() + seconds
        while len(self._ask_all(count, query)) < count and time.monotonic() < until:
            time.sleep(_LOOK_AGAIN)

    def info(self) -> IndexInfo:
        """Return what the index holds, and which shards did not answer the last time."""
        with self._snapshots.newest() as searcher:
            names = _sharded(searcher).shards
        return replace(super().info(), shards=len(names), missing_shards=self._named(self._away))

    def check(self) -> None:
        """Raise `Unavailable` where no shard answered the last time."""
        super().check()
        with self._snapshots.newest() as searcher:
            count = len(_sharded(searcher).shards)
        if len(self._away) == count:
            raise Unavailable(f"No shard of the index {self.name} answers.")

    def _find(
        self, searcher: Searcher, weights: sparse.csr_array, options: SearchOptions
    ) -> tuple[list[Hits], list[str]]:
        index = _sharded(searcher)
        if options.where is not None:
            try:
                Filter.parse(options.where, index.fields)
            except FilterProblem as error:
                raise Refusal(str(error)) from None
        query = ShardQuery.of(weights, options.k, options.where, options.seconds)
        answers = self._ask_all(len(index.shards), query)
        problem = next((a.problem for a in answers.values() if a.problem is not None), None)
        if problem is not None:
            raise Refusal(problem)
        if not answers:
            raise Unavailable(f"No shard of the index {self.name} answers; try again shortly.")
        hits = []
        for row in range(weights.shape[0]):
            parts = [
                Hits(answers[shard].hits[row][0] + index.shard_bases[shard], answers[shard].hits[row][1])
                for shard in sorted(answers)
            ]
            hits.append(merge_hits(parts, options.k))
        missing = set(range(len(index.shards))) - set(answers)
        with self._lock:
            self._away = missing
        return hits, self._named(missing)

    def _ask_all(self, count: int, query: ShardQuery) -> dict[int, ShardAnswer]:
        """Ask every shard at once and return the answers that come in time."""
        start = time.monotonic()
        short = min(_SHORT_SECONDS, self._shard_seconds)
        deadlines = {
            shard: start + (short if shard in self._away else self._shard_seconds) for shard in range(count)
        }
        pending = {shard: self._asked(shard, query) for shard in range(count)}
        found = {
            shard: self._waited_for(shard, query, pending[shard], deadlines[shard]) for shard in range(count)
        }
        if all(answer is not None for answer in found.values()):
            self._usual_seconds += 0.05 * (time.monotonic() - start - self._usual_seconds)
        return {shard: answer for shard, answer in found.items() if answer is not None}

    def _waited_for(
        self, shard: int, query: ShardQuery, pending: list[Pending], deadline: float
    ) -> ShardAnswer | None:
        """Return a shard's answer, None where it does not come in time.

        A replica whose machine died may be believed alive for some seconds: where one is slow,
        another is asked too, and the first answer counts.
        """
        # Where all are slow, asking more would make them slower.
        patience = max(_HEDGE_SECONDS, _HEDGE_TIMES * self._usual_seconds)
        again = time.monotonic() + patience
        try:
            while (left := deadline - time.monotonic()) > 0 or pending:
                if not pending or (time.monotonic() >= again and len(pending) < _MOST_ASKED):
                    pending += self._asked(shard, query)
                    again = time.monotonic() + patience
                if not pending:
                    time.sleep(min(_LOOK_AGAIN, max(left, 0.0)))
                    continue
                one = pending[0]
                # The only one is waited for until another is asked; of several each is looked at in turn.
                wait = again - time.monotonic() if len(pending) == 1 else _LOOK_AGAIN
                try:
                    answer = one.result(max(min(wait, left), 0.001))
                    pending.remove(one)
                    return answer
                except TimeoutError:
                    if left <= 0:
                        return None
                    pending.append(pending.pop(0))
                except Lost:
                    pending.remove(one)
            return None
        finally:
            for one in pending:
                one.cancel()

    def _asked(self, shard: int, query: ShardQuery) -> list[Pending]:
        """Have some replica of a shard searched; nothing where there is none to ask."""
        try:
            return [self._shards.ask(shard, query)]
        except Lost:
            return []

    @staticmethod
    def _named(shards: set[int]) -> list[str]:
        return [f"shard {shard}" for shard in sorted(shards)]


def _sharded(searcher: Searcher) -> ShardedIndex:
    index = searcher.index
    if not isinstance(index, ShardedIndex):
        raise UserError(f"{index.folder} is not a sharded index; build one with lsr index --ray.")
    return index
