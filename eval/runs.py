"""Runs: rankings in the six columns of TREC, written whole or not at all."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray

from lsr.errors import UserError
from lsr.whole_file import whole_file

Ties = Literal["line", "trec_eval"]

Run = dict[str, dict[str, float]]
"""For each query the scores of its documents, best first."""


class RunWriter:
    """Writes a run query by query: ``query Q0 document rank score tag``.

    The file appears under its name when the ``with`` block ends without an exception, in place of
    any older run. Scores fall strictly from line to line, see `strictly_falling`: trec_eval ignores the
    rank column and would put equal scores in the order of falling document ids.
    """

    def __init__(self, path: str | Path, tag: str = "lsr") -> None:
        self.path = Path(path)
        self.tag = "-".join(tag.split()) or "lsr"
        self._context = whole_file(self.path, f"The run {self.path}", folders=True)
        self._file: IO[str] | None = None

    def __enter__(self) -> RunWriter:
        self._file = self._context.__enter__()
        return self

    def write(self, query_id: str, document_ids: Sequence[str], scores: NDArray[np.floating]) -> None:
        """Write the results of one query, best first."""
        if self._file is None:
            raise ValueError("a RunWriter is written to inside its with block")
        query = _column(query_id, "query")
        falling = strictly_falling(scores)
        self._file.writelines(
            f"{query} Q0 {_column(document_id, 'document')} {rank} {score!s} {self.tag}\n"
            for rank, (document_id, score) in enumerate(zip(document_ids, falling, strict=True), start=1)
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file = None
        self._context.__exit__(kind, error, traceback)


def strictly_falling(scores: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return falling scores as float32 that are all different, shape as `scores`.

    A score that is not below the one before it becomes the next float32 below that one; all others
    stay as they are. trec_eval holds scores as float32.
    """
    # float32 values in their order are integers in theirs, but for the sign: the values below 0 are
    # mirrored. Then y[i] = min(x[i], y[i - 1] - 1), which is a running minimum of x[i] + i.
    bits = (np.asarray(scores, np.float32) + np.float32(0)).view(np.int32).astype(np.int64)
    ordered = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    places = np.arange(len(ordered))
    lowered = np.minimum.accumulate(ordered + places) - places
    back = np.where(lowered < 0, -lowered | 0x80000000, lowered).astype(np.uint32)
    return back.view(np.float32)


def read_run(path: str | Path, ties: Ties = "line") -> Run:
    """Read a run in TREC format, plain or ``.gz``, ordered by falling score.

    Equal scores are ordered by line, or as trec_eval does: scores rounded to float32, equal ones by
    falling document id, byte by byte.
    """
    run: Run = {}
    try:
        with _opened(Path(path)) as file:
            for number, line in enumerate(file, start=1):
                columns = line.split()
                if not columns:
                    continue
                if len(columns) != 6:
                    raise UserError(
                        f"{path}:{number}: a run has 6 columns (query Q0 document rank score tag), "
                        f"this line has {len(columns)}."
                    )
                query_id, _, document_id, _, score, _ = columns
                results = run.setdefault(query_id, {})
                if document_id in results:
                    raise UserError(
                        f"{path}:{number}: document {document_id!r} occurs twice for query {query_id!r}."
                    )
                results[document_id] = _score(score, f"{path}:{number}")
    except (OSError, EOFError) as error:
        raise UserError(
            f"The run {path} cannot be read: {getattr(error, 'strerror', None) or error}."
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"The run {path} is not UTF-8 text.") from error
    return {query_id: _in_order(results, ties) for query_id, results in run.items()}


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _in_order(results: dict[str, float], ties: Ties) -> dict[str, float]:
    # Python's sort is stable, so equal scores stay in the order of their lines, or of falling ids.
    if ties == "line":
        return dict(sorted(results.items(), key=lambda item: -item[1]))
    falling = sorted(results.items(), key=lambda item: item[0].encode(), reverse=True)
    return dict(sorted(falling, key=lambda item: -np.float32(item[1])))


def _score(text: str, location: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = float("nan")
    if score != score:
        raise UserError(f"{location}: the score {text!r} is not a number.")
    return score


def _column(text: str, what: str) -> str:
    if not text or text.split() != [text]:
        raise UserError(
            f"The {what} id {text!r} is empty or holds white space, which a run in TREC format cannot "
            f"hold; index the corpus with other ids (lsr eval can leave the run out: --no-run)."
        )
    return text
