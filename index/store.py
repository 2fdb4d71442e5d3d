"""Documents and terms of a segment, in SQLite.

SQLite comes with Python, opens in microseconds, keeps memory bounded while it is written, finds
duplicate ids by itself, and its files can be read by any other tool.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsr.index.errors import IndexProblem

_SCHEMA = """
CREATE TABLE documents (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, title TEXT, text TEXT, metadata TEXT);
CREATE TABLE terms (id INTEGER PRIMARY KEY, term TEXT NOT NULL);
"""
# SQLite takes no more host parameters than this in one statement, whatever its build.
_PARAMETERS = 900


class StoredDocument(NamedTuple):
    """A document as the index keeps it; `text` is None where texts were not stored."""

    number: int
    id: str
    title: str
    text: str | None
    metadata: dict[str, Any]


class DocumentRecord(NamedTuple):
    """A document as it is handed to the store; `location` says where it was read, for messages."""

    id: str
    title: str = ""
    text: str | None = None
    metadata: dict[str, Any] | None = None
    location: str = ""


class StoreWriter:
    """Writes the store of a segment that is being built; the caller discards it if that fails."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = sqlite3.connect(path, isolation_level=None)
        # The segment's folder is thrown away whole if building fails, so no journal is needed;
        # the finished file is synchronised to disk before the manifest names it.
        self._connection.execute("PRAGMA journal_mode=OFF")
        self._connection.execute("PRAGMA synchronous=OFF")
        self._connection.execute("PRAGMA cache_size=-65536")
        self._connection.executescript(_SCHEMA)
        self._connection.execute("BEGIN")
        self.document_count = 0

    def add(self, documents: Sequence[DocumentRecord]) -> None:
        """Append documents.

        Raises:
            IndexProblem: where two documents have the same id.
        """
        rows = [
            (
                number,
                d.id,
                d.title,
                d.text,
                json.dumps(d.metadata, ensure_ascii=False) if d.metadata else None,
            )
            for number, d in enumerate(documents, self.document_count)
        ]
        try:
            self._connection.executemany("INSERT INTO documents VALUES (?, ?, ?, ?, ?)", rows)
        except sqlite3.IntegrityError:
            raise self._duplicate(documents) from None
        self.document_count += len(rows)

    def _duplicate(self, documents: Sequence[DocumentRecord]) -> IndexProblem:
        """Find which document of a refused batch repeats an id."""
        seen: set[str] = set()
        for document in documents:
            row = self._connection.execute(
                "SELECT number FROM documents WHERE id = ?", (document.id,)
            ).fetchone()
            # Rows of this batch may be in the table already; only those of earlier ones count here.
            if document.id in seen or (row and row[0] < self.document_count):
                where = f"{document.location}: " if document.location else ""
                return IndexProblem(
                    f"{where}the document id {document.id!r} occurs twice; give every document an id of its own."
                )
            seen.add(document.id)
        return IndexProblem("A document has no id; give every document an id of its own.")

    def finish(self, terms: Iterable[tuple[int, str]]) -> None:
        """Store the strings of term ids, then close the file."""
        self._connection.executemany("INSERT INTO terms VALUES (?, ?)", terms)
        self._connection.execute("CREATE INDEX terms_by_term ON terms (term)")
        self._connection.execute("COMMIT")
        self._connection.close()

    def abort(self) -> None:
        """Close the file, finished or not."""
        self._connection.close()


class Store:
    """Reads the store of a finished segment; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Immutable: no locks are taken and no journal is looked for, so a read-only folder will do.
        uri = path.resolve().as_uri() + "?mode=ro&immutable=1"
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            self._connection.execute("PRAGMA trusted_schema=OFF")
            self._connection.execute(
                "SELECT number, id, title, text, metadata FROM documents LIMIT 1"
            ).fetchone()
            self._connection.execute("SELECT id, term FROM terms LIMIT 1").fetchone()
        except sqlite3.Error as error:
            raise IndexProblem(f"{path} is damaged ({error}); build the index again.") from None

    def _rows(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise IndexProblem(f"{self._path} is damaged ({error}); build the index again.") from None

    def _rows_of(self, query: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """Run a query with an ``IN ({})`` over any number of values."""
        for start in range(0, len(values), _PARAMETERS):
            part = values[start : start + _PARAMETERS]
            yield from self._rows(query.format(",".join("?" * len(part))), part)

    def documents(self, numbers: Sequence[int]) -> dict[int, StoredDocument]:
        """Return documents by number."""
        found = {}
        query = "SELECT number, id, title, text, metadata FROM documents WHERE number IN ({})"
        for number, id_, title, text, metadata in self._rows_of(query, numbers):
            fields = json.loads(metadata) if metadata else {}
            found[number] = StoredDocument(number, id_, title or "", text, fields)
        return found

    def ids(self, numbers: Sequence[int]) -> dict[int, str]:
        """Return document ids by number."""
        return dict(self._rows_of("SELECT number, id FROM documents WHERE number IN ({})", numbers))

    def all_ids(self) -> list[str]:
        """Return every document id, by number."""
        return [row[0] for row in self._rows("SELECT id FROM documents ORDER BY number", ())]

    def numbers(self, ids: Sequence[str]) -> dict[str, int]:
        """Return document numbers by id, without the ids that are unknown."""
        return dict(self._rows_of("SELECT id, number FROM documents WHERE id IN ({})", ids))

    def terms(self, term_ids: NDArray[np.int64]) -> dict[int, str]:
        """Return term strings by id."""
        return dict(self._rows_of("SELECT id, term FROM terms WHERE id IN ({})", term_ids.tolist()))

    def term_ids(self, terms: Sequence[str]) -> dict[str, int]:
        """Return term ids by string; of equal strings the lowest id."""
        rows = self._rows_of("SELECT term, min(id) FROM terms WHERE term IN ({}) GROUP BY term", terms)
        return dict(rows)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
