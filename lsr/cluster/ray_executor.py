"""Steps on a Ray cluster: actors do the pieces, and a piece whose actor is lost is done by another.

Ray's own retries are not used: an actor that Ray restarts waits for a place, and its piece with it,
although other actors are free.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import lsr
from lsr.cluster.connection import connect
from lsr.cluster.executors import Stage, Work
from lsr.errors import UserError

# A piece whose worker was lost as often is not tried again: it may be what kills them.
MOST_TRIES = 6
# Seconds between looks at the cluster while nothing happens.
_PATIENCE = 2.0


class _Worker:
    """Runs in an actor: opens a step, then does pieces of it."""

    def __init__(self) -> None:
        self._work: Work | None = None

    def open(self, stage: Stage, version: str, witness: str | None) -> None:
        """Open a step, if this machine has the same program and sees the job's files."""
        if lsr.__version__ != version:
            raise UserError(
                f"a machine of the cluster has lsr {lsr.__version__}, and the job was started with {version}; "
                "install the same version on all of them."
            )
        if witness is not None and not Path(witness).exists():
            raise UserError(
                f"a machine of the cluster does not see {Path(witness).parent}; put the index (-o) on storage that all "
                "machines have under the same name."
            )
        self._work = stage.open()

    def do(self, piece: Any) -> Any:
        """Do a piece."""
        assert self._work is not None
        return self._work(piece)


class RayExecutor:
    """A connection to a cluster. Use it as a context manager.

    Args:
        address: ``HOST:PORT`` of the cluster's head, ``ray://HOST:PORT``, ``auto`` for the one this
            machine belongs to, or ``local`` for one that is started on this machine and ends with the
            job.
        processors: of a worker.

    Raises:
        UserError: where Ray is not installed, or no cluster answers.
    """

    def __init__(self, address: str, *, processors: int = 1) -> None:
        self._processors = processors
        self.witness: str | None = None
        self.lost = 0
        """Workers that were lost while they had something to do."""
        self._ray, self._own = connect(address)

    @property
    def workers(self) -> int:
        """How many workers the cluster has room for now."""
        return self._room(models=False)

    def _room(self, *, models: bool) -> int:
        resources = self._ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        if models and gpus:
            return gpus
        return max(1, int(resources.get("CPU", 1)) // self._processors)

    def run(self, stage: Stage, pieces: Sequence[Any], *, models: bool = False) -> Iterator[tuple[int, Any]]:
        """Do all pieces, each by some worker, however many are lost meanwhile."""
        pool = _Pool(self, stage, pieces, models)
        try:
            yield from pool.results()
        finally:
            pool.close()

    def __enter__(self) -> RayExecutor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._own:
            self._ray.shutdown()


class _Pool:
    """The workers of one step, and which piece each is doing."""

    def __init__(self, executor: RayExecutor, stage: Stage, pieces: Sequence[Any], models: bool) -> None:
        self._executor = executor
        self._ray = executor._ray
        self._pieces = pieces
        self._models = models
        self._waiting = deque(range(len(pieces)))
        self._tries = [0] * len(pieces)
        self._stage = self._ray.put(stage)
        gpus = models and int(self._ray.cluster_resources().get("GPU", 0)) > 0
        options: dict[str, Any] = {
            "num_cpus": executor._processors,
            "num_gpus": 1 if gpus else 0,
            "max_restarts": 0,
            # One worker on each machine before a second one: reading is bound by disks too.
            "scheduling_strategy": "SPREAD",
        }
        self._actor = self._ray.remote(_Worker).options(**options)
        # What is awaited: the opening of a worker (no piece) or a piece.
        self._running: dict[Any, tuple[Any, int | None]] = {}
        self._idle: list[Any] = []

    def results(self) -> Iterator[tuple[int, Any]]:
        """Yield number and result of each piece."""
        left = len(self._pieces)
        while left:
            self._grow()
            while self._idle and self._waiting:
                worker, number = self._idle.pop(), self._waiting.popleft()
                self._running[worker.do.remote(self._pieces[number])] = (worker, number)
            ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=_PATIENCE)
            for reference in ready:
                worker, done = self._running.pop(reference)
                result = self._taken(reference, done)
                if result is _LOST:
                    continue
                self._idle.append(worker)
                if done is not None:
                    left -= 1
                    yield done, result

    def _grow(self) -> None:
        """Start workers while there is more to do than workers, and room for them."""
        doing = sum(number is not None for _, number in self._running.values())
        workers = len(self._running) + len(self._idle)
        wanted = min(self._executor._room(models=self._models), len(self._waiting) + doing)
        for _ in range(wanted - workers):
            worker = self._actor.remote()
            opening = worker.open.remote(self._stage, lsr.__version__, self._executor.witness)
            self._running[opening] = (worker, None)

    def _taken(self, reference: Any, number: int | None) -> Any:
        """Return a result, or `_LOST` where the worker was lost and its piece waits again.

        Raises:
            UserError: for a piece that was lost too often; and what the piece raised.
        """
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except exceptions.RayTaskError as error:
            cause = error.cause
            raise (cause if isinstance(cause, Exception) else error) from None
        except (
            exceptions.RayActorError,
            exceptions.WorkerCrashedError,
            exceptions.NodeDiedError,
            exceptions.ObjectLostError,
            exceptions.OutOfMemoryError,
        ) as error:
            if number is None:
                time.sleep(_PATIENCE / 10)
                return _LOST
            self._executor.lost += 1
            self._tries[number] += 1
            if self._tries[number] >= MOST_TRIES:
                reason = " ".join(str(error).split())[:300]
                raise UserError(
                    f"A piece of the job was given up after {MOST_TRIES} workers were lost at it ({reason}); if memory "
                    "runs out there, take fewer workers on a machine (--threads) or a smaller --batch-size."
                ) from None
            self._waiting.appendleft(number)
            return _LOST

    def close(self) -> None:
        """End the workers."""
        for worker in {id(w): w for w in [*self._idle, *(w for w, _ in self._running.values())]}.values():
            self._ray.kill(worker)


_LOST = object()
