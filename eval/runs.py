"""Runs: rankings in the six columns of TREC, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from lsr.errors import UserError

Run = dict[str, dict[str, float]]
"""For each query the scores of its documents, best first."""


class RunWriter:
    """Writes a run query by query: ``query Q0 document rank score tag``.

    The file appears under its name when the ``with`` block ends without an exception, in place of
    any older run. Scores are written so that reading them returns the same float32. trec_eval
    ignores the rank column and orders equal scores by descending document id; our own order of
    ties is that of the lines.
    """

    def __init__(self, path: str | Path, tag: str = "lsr") -> None:
        self.path = Path(path)
        self.tag = tag
        self._part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        self._file: TextIO | None = None
        self._made: list[Path] = []

    def __enter__(self) -> RunWriter:
        if self.path.is_dir():
            raise UserError(f"The run cannot be written to {self.path}: it is a folder; name a file in it.")
        try:
            folder = self.path.parent
            self._made = [path for path in (folder, *folder.parents) if not path.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._part.open("w", encoding="utf-8", newline="\n")
        except OSError as error:
            raise self._unwritable(error) from error
        return self

    def write(self, query_id: str, document_ids: Sequence[str], scores: NDArray[np.float32]) -> None:
        """Write the results of one query, best first."""
        if self._file is None:
            raise ValueError("a RunWriter is written to inside its with block")
        query = _column(query_id, "query")
        lines = [
            f"{query} Q0 {_column(document_id, 'document')} {rank} {score!s} {self.tag}\n"
            for rank, (document_id, score) in enumerate(zip(document_ids, scores, strict=True), start=1)
        ]
        try:
            self._file.writelines(lines)
        except OSError as error:
            raise self._unwritable(error) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._file is not None
        try:
            try:
                self._file.close()
                if kind is None:
                    os.replace(self._part, self.path)
            finally:
                self._part.unlink(missing_ok=True)
                if kind is not None:
                    self._remove_made_folders()
        except OSError as failure:
            if kind is None:
                raise self._unwritable(failure) from failure

    def _remove_made_folders(self) -> None:
        with suppress(OSError):  # one that others have written to since stays
            for folder in self._made:
                folder.rmdir()

    def _unwritable(self, error: OSError) -> UserError:
        reason = error.strerror or str(error)
        return UserError(f"The run cannot be written to {self.path}: {reason}.")


def read_run(path: str | Path) -> Run:
    """Read a run in TREC format, ordered by falling score, equal scores by line."""
    run: Run = {}
    try:
        with Path(path).open(encoding="utf-8") as file:
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
    except OSError as error:
        raise UserError(f"The run {path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"The run {path} is not UTF-8 text.") from error
    # Python's sort is stable, so equal scores stay in the order of their lines.
    return {
        query_id: dict(sorted(results.items(), key=lambda item: -item[1]))
        for query_id, results in run.items()
    }


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
