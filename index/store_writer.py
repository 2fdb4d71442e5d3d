"""Writing the documents and terms of a segment; `lsr.index.store` reads them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsr.index.errors import IndexProblem
from lsr.index.fields import FieldTypes, write_fields
from lsr.index.store import PARAMETERS, DocumentRecord, Store

_SCHEMA = """
CREATE TABLE documents (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, title TEXT, metadata TEXT, text TEXT);
CREATE TABLE terms (id INTEGER PRIMARY KEY, term TEXT NOT NULL);
"""
_INSERT = "INSERT INTO documents (number, id, title, metadata, text) VALUES (?, ?, ?, ?, ?)"


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
        self.field_types = FieldTypes()

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
                json.dumps(d.metadata, ensure_ascii=False) if d.metadata else None,
                d.text,
            )
            for number, d in enumerate(documents, self.document_count)
        ]
        try:
            self._connection.executemany(_INSERT, rows)
        except sqlite3.IntegrityError:
            raise self._duplicate(documents) from None
        self.document_count += len(rows)
        for document in documents:
            if document.metadata:
                self.field_types.observe(document.metadata, untyped=document.untyped)

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

    def numbers(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the numbers of documents added so far by id, without the ids that are unknown."""
        return dict(_rows_of(self._connection, "SELECT id, number FROM documents WHERE id IN ({})", ids))

    def remove(self, ids: Sequence[str]) -> list[int]:
        """Take documents out again and return their numbers, which are not given out anew."""
        found = self.numbers(ids)
        self._connection.executemany("DELETE FROM documents WHERE id = ?", [(id_,) for id_ in found])
        return list(found.values())

    def copy(self, store: Store, live: NDArray[np.bool_] | None) -> None:
        """Append the documents of a finished store, those that are not live left out."""
        self.field_types.include(store.fields)
        for rows in store.row_batches():
            kept = [row[1:] for row in rows if live is None or live[row[0]]]
            numbered = [(number, *row) for number, row in enumerate(kept, self.document_count)]
            self._connection.executemany(_INSERT, numbered)
            self.document_count += len(numbered)

    def finish(self, terms: Iterable[tuple[int, str]]) -> None:
        """Store the strings of term ids and the typed fields, then close the file."""
        write_fields(self._connection, self.field_types.types())
        self._connection.executemany("INSERT INTO terms VALUES (?, ?)", terms)
        self._connection.execute("CREATE INDEX terms_by_term ON terms (term)")
        self._connection.execute("COMMIT")
        self._connection.close()

    def abort(self) -> None:
        """Close the file, finished or not."""
        self._connection.close()


def _rows_of(connection: sqlite3.Connection, query: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """Run a query with an ``IN ({})`` over any number of values."""
    for start in range(0, len(values), PARAMETERS):
        part = values[start : start + PARAMETERS]
        yield from connection.execute(query.format(",".join("?" * len(part))), part)
