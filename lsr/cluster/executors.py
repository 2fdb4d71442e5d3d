"""Where the steps of a job run: in this process, or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

Work = Callable[[Any], Any]


class Stage(Protocol):
    """One step of a job. It travels to workers, so it is small and can be pickled."""

    def open(self) -> Work:
        """Load what the step needs, once in each worker, and return what does one piece of it.

        The same piece may be done twice, at the same time even: where a worker is believed dead. It
        must leave the same files then, each written whole.
        """


class Executor(Protocol):
    """Runs steps."""

    witness: str | None
    """A file that every worker must see, once it is set: the job's files lie beside it."""

    @property
    def workers(self) -> int:
        """How many pieces of a step are done at once."""

    def run(self, stage: Stage, pieces: Sequence[Any], *, models: bool = False) -> Iterator[tuple[int, Any]]:
        """Do all pieces and yield the number and the result of each as it is done, in any order.

        Args:
            models: the step runs a model, and wants GPUs where there are any.

        Raises:
            UserError, lsr.index.IndexProblem: what a piece raised; the others are given up then.
        """


class LocalExecutor:
    """Does one piece after the other in this process."""

    workers = 1
    witness: str | None = None

    def run(self, stage: Stage, pieces: Sequence[Any], *, models: bool = False) -> Iterator[tuple[int, Any]]:
        """Yield the results in order."""
        work = stage.open()
        for number, piece in enumerate(pieces):
            yield number, work(piece)
