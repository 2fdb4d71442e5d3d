"""Documents and terms of a segment, in SQLite.

SQLite comes with Python, opens in microseconds, keeps memory bounded while it is written, finds
duplicate ids by itself, and its files can be read by any other tool.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsr.index.errors import IndexProblem
from lsr.index.fields import FieldType, read_field_types, shown

if TYPE_CHECKING:
    from lsr.index.filters import Filter

_TEXT = (str, type(None))
# SQLite's messages quote the file; damaged, they may be no UTF-8.
_DAMAGE = (sqlite3.Error, UnicodeDecodeError)
_ROWS_AFTER = (
    "SELECT number, id, title, metadata, text FROM documents WHERE number > ? ORDER BY number LIMIT ?"
)
_ROWS_A_BATCH = 500
# A store has tables and their indexes; views, triggers and virtual tables could do what tables can't.
_FOREIGN = """
SELECT 1 FROM sqlite_master WHERE type NOT IN ('table', 'index') OR sql LIKE 'CREATE VIRTUAL%' LIMIT 1
"""
# SQLite takes no more host parameters than this in one statement, whatever its build.
PARAMETERS = 900


class StoredDocument(NamedTuple):
    """A document as the index keeps it; `text` is None where texts were not stored."""

    number: int
    id: str
    title: str
    text: str | None
    metadata: dict[str, Any]


class DocumentRecord(NamedTuple):
    """A document as it is handed to the store.

    `location` says where it was read, for messages; `untyped` that the strings of its metadata are
    cells of a table without types, see `lsr.index.fields`.
    """

    id: str
    title: str = ""
    text: str | None = None
    metadata: dict[str, Any] | None = None
    location: str = ""
    untyped: bool = False


class Store:
    """Reads the store of a finished segment; safe to use from several threads.

    What it returns is of the types it says and within bounds, whatever the file holds.

    Args:
        path: the file.
        document_count: numbers of documents lie below this.

    Raises:
        IndexProblem: here and later, where the file is damaged.
    """

    def __init__(self, path: Path, document_count: int = 1 << 32) -> None:
        self._path = path
        self._document_count = document_count
        self._users = 1
        self._filter_lock = threading.Lock()
        self._lock = threading.Lock()
        try:
            self._connection = self._connect()
            # Filters have a connection of their own, which stays confined to them, and other threads
            # go on meanwhile. It reads once now: later the file's name may be gone.
            self._filter_connection = self._connect()
            self._filter_connection.execute("SELECT 1 FROM terms LIMIT 1").fetchone()
            if self._connection.execute(_FOREIGN).fetchone():
                raise sqlite3.DatabaseError("it holds more than tables")
            self._connection.execute(
                "SELECT number, id, title, text, metadata FROM documents LIMIT 1"
            ).fetchone()
            self._connection.execute("SELECT id, term FROM terms LIMIT 1").fetchone()
        except _DAMAGE as error:
            raise self._damaged(error) from None

    def _connect(self) -> sqlite3.Connection:
        # Immutable: no locks are taken and no journal is looked for, so a read-only folder will do.
        uri = self._path.resolve().as_uri() + "?mode=ro&immutable=1"
        connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
        connection.execute("PRAGMA trusted_schema=OFF")
        return connection

    def _damaged(self, error: Exception) -> IndexProblem:
        return IndexProblem(f"{self._path} is damaged ({error}); build the index again.")

    def _rows(self, query: str, values: Sequence[Any], *types: type | tuple[type, ...]) -> list[Any]:
        """Run a query and check the types of its columns."""
        try:
            with self._lock:
                rows = self._connection.execute(query, values).fetchall()
        except _DAMAGE as error:
            raise self._damaged(error) from None
        for column, kind in enumerate(types):
            if not all(isinstance(row[column], kind) for row in rows):
                raise self._damaged(ValueError("a value is of another type than it should be"))
        return rows

    def _rows_of(
        self, query: str, values: Sequence[Any], *types: type | tuple[type, ...]
    ) -> Iterator[tuple[Any, ...]]:
        """Run a query with an ``IN ({})`` over any number of values."""
        for start in range(0, len(values), PARAMETERS):
            part = values[start : start + PARAMETERS]
            yield from self._rows(query.format(",".join("?" * len(part))), part, *types)

    def _complete(self, found: dict[int, Any], numbers: Sequence[int]) -> None:
        """Refuse a store that lacks documents which the index knows."""
        for number in numbers:
            if number not in found:
                raise self._damaged(ValueError(f"document {number} is missing"))

    def documents(self, numbers: Sequence[int]) -> dict[int, StoredDocument]:
        """Return documents by number."""
        found = {}
        query = "SELECT number, id, title, text, metadata FROM documents WHERE number IN ({})"
        for number, id_, title, text, metadata in self._rows_of(
            query, numbers, int, str, _TEXT, _TEXT, _TEXT
        ):
            found[number] = StoredDocument(number, id_, title or "", text, self._metadata(metadata))
        self._complete(found, numbers)
        return found

    def _metadata(self, stored: str | None) -> dict[str, Any]:
        if not stored:
            return {}
        try:
            values = json.loads(stored)
            return {name: shown(value, self.fields.get(name)) for name, value in values.items()}
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise self._damaged(ValueError("metadata is no JSON object")) from None

    @cached_property
    def fields(self) -> dict[str, FieldType]:
        """The type of each field that filters can ask about; none in a store older than fields."""
        try:
            with self._lock:
                return read_field_types(self._connection)
        except (*_DAMAGE, ValueError, TypeError) as error:
            raise self._damaged(error) from None

    def matching(
        self, condition: Filter, document_count: int, seconds: float | None = None
    ) -> NDArray[np.bool_]:
        """Return which of the store's documents a filter holds for, shape (document_count,).

        It is stopped after `seconds`, see `lsr.index.filters`.
        """
        try:
            with self._filter_lock:
                return condition.matching(self._filter_connection, self.fields, document_count, seconds)
        except _DAMAGE as error:
            raise self._damaged(error) from None

    def ids(self, numbers: Sequence[int]) -> dict[int, str]:
        """Return document ids by number, and perhaps those of more documents."""
        # Many at once are read faster in one go than one by one.
        if len(numbers) * 8 > self._document_count:
            found = dict(self._rows("SELECT number, id FROM documents", (), int, str))
        else:
            query = "SELECT number, id FROM documents WHERE number IN ({})"
            found = dict(self._rows_of(query, numbers, int, str))
        self._complete(found, numbers)
        return found

    def row_batches(self) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the stored rows of documents by rising number, some at a time."""
        after = -1
        while rows := self._rows(_ROWS_AFTER, (after, _ROWS_A_BATCH), int, str):
            if not after < rows[-1][0] < self._document_count:
                raise self._damaged(ValueError("numbers of documents do not rise"))
            yield rows
            after = rows[-1][0]

    def all_terms(self) -> list[tuple[int, str]]:
        """Return the terms that this store holds with their ids, rising."""
        return self._rows("SELECT id, term FROM terms ORDER BY id", (), int, str)

    def numbers(self, ids: Sequence[str]) -> dict[str, int]:
        """Return document numbers by id, without the ids that are unknown."""
        found = dict(self._rows_of("SELECT id, number FROM documents WHERE id IN ({})", ids, str, int))
        if not all(0 <= number < self._document_count for number in found.values()):
            raise self._damaged(ValueError("the number of a document is out of range"))
        return found

    def terms(self, term_ids: NDArray[np.int64]) -> dict[int, str]:
        """Return term strings by id."""
        query = "SELECT id, term FROM terms WHERE id IN ({})"
        return dict(self._rows_of(query, term_ids.tolist(), int, str))

    def term_ids(self, terms: Sequence[str]) -> dict[str, int]:
        """Return term ids by string; of equal strings the lowest id."""
        query = "SELECT term, min(id) FROM terms WHERE term IN ({}) GROUP BY term"
        return dict(self._rows_of(query, terms, str, int))

    def share(self) -> Store:
        """Return this store for one more user; the last one's `close` closes the file."""
        with self._lock:
            self._users += 1
        return self

    def close(self) -> None:
        """Close the file, unless others share it."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._connection.close()
                self._filter_connection.close()
