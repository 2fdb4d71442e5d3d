"""Filters: an expression over fields becomes a mask of documents.

The language is that of SQLite's expressions, and SQLite evaluates it: comparisons, AND, OR, NOT,
IN, BETWEEN, LIKE, IS NULL, arithmetic, and the functions of `FUNCTIONS`. A document without a
field has NULL there, which no comparison holds for. ``has(tags, 'red')`` asks whether a list holds
a value. `id` and `title` are fields too, unless the documents have fields of those names.

An expression comes from a user or over a network, so it's confined: SQLite's authorizer allows
reading the one table and calling those functions, nothing else; no statement but one SELECT is
ever run; and a filter that takes longer than `MOST_SECONDS` is stopped.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsr.index.errors import FilterProblem
from lsr.index.fields import FieldType, widened
from lsr.index.filter_syntax import WIDENED, fields_of, listed, told

FUNCTIONS = frozenset(
    [
        "abs",
        "coalesce",
        "date",
        "datetime",
        "glob",
        "has",
        "ifnull",
        "iif",
        "instr",
        "julianday",
        "length",
        "like",
        "lower",
        "ltrim",
        "max",
        "min",
        "nullif",
        "round",
        "rtrim",
        "strftime",
        "substr",
        "time",
        "trim",
        "upper",
    ]
)
MOST_SECONDS = 30.0
# No field can have this name in double quotes unless the user's own documents have it.
_NUMBER = '"number of the document"'


@dataclass(frozen=True)
class Filter:
    """A checked expression and the fields that it reads, by the names it uses for them."""

    expression: str
    types: Mapping[str, FieldType]
    fields: frozenset[str]

    @classmethod
    def parse(cls, expression: str, types: Mapping[str, FieldType]) -> Filter:
        """Check an expression against the fields of an index.

        Raises:
            FilterProblem: for a mistake in the expression, naming it and listing the fields.
        """
        fields = fields_of(expression, types)
        checked = cls(expression, types, fields)
        checked._check()
        return checked

    def _check(self) -> None:
        """Let SQLite compile the expression over a table without rows."""
        connection = sqlite3.connect(":memory:")
        try:
            connection.execute("CREATE TABLE documents (number INTEGER PRIMARY KEY, id TEXT, title TEXT)")
            self._run(connection, {})
        finally:
            connection.close()

    def matching(
        self,
        connection: sqlite3.Connection,
        types: Mapping[str, FieldType],
        document_count: int,
        seconds: float | None = None,
    ) -> NDArray[np.bool_]:
        """Return which documents of one store match, shape (document_count,).

        `types` are the store's own fields, in the order of its columns. The connection stays confined:
        use one of the filter's own. It is stopped after `seconds`, or after `MOST_SECONDS`.
        """
        mask = np.zeros(document_count, np.bool_)
        found = [row[0] for row in self._run(connection, types, seconds)]
        if not all(isinstance(number, int) for number in found):
            raise sqlite3.DatabaseError("the number of a document is none")
        numbers = np.array(found, np.int64)
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < document_count):
            raise sqlite3.DatabaseError("a document's number is out of range")
        mask[numbers] = True
        return mask

    def _run(
        self, connection: sqlite3.Connection, types: Mapping[str, FieldType], seconds: float | None = None
    ) -> list[tuple[int]]:
        seconds = MOST_SECONDS if seconds is None else seconds
        stop_at = time.monotonic() + seconds
        connection.create_function("has", 2, _has, deterministic=True)
        connection.create_function(WIDENED, 3, widened, deterministic=True)
        query = f"SELECT {_NUMBER} FROM ({self._source(types)}) WHERE (\n{self.expression}\n)"
        connection.set_authorizer(_authorizer())
        connection.set_progress_handler(lambda: time.monotonic() > stop_at, 10_000)
        try:
            return connection.execute(query).fetchall()
        except sqlite3.Error as error:
            raise self._problem(error, seconds) from None

    def _source(self, types: Mapping[str, FieldType]) -> str:
        """Return a SELECT that gives the fields in use their names and their types in the index."""
        columns = [f"number AS {_NUMBER}"]
        places = {name: place for place, name in enumerate(types)}
        for name in sorted(self.fields):
            label = '"' + name.replace('"', '""') + '"'
            if name not in self.types:  # id or title
                columns.append(name)
            elif name not in places:
                columns.append(f"NULL AS {label}")
            elif types[name] == self.types[name]:
                columns.append(f"c{places[name]} AS {label}")
            else:
                call = f"{WIDENED}(c{places[name]}, '{types[name]}', '{self.types[name]}')"
                declared = {"number": "NUMERIC"}.get(self.types[name], "TEXT")
                columns.append(f"CAST({call} AS {declared}) AS {label}")
        own = {"id", "title"} & (self.fields - set(self.types))
        if not types:
            return f"SELECT {', '.join(columns)} FROM documents"
        tables = "fields" if not own else "fields JOIN documents USING (number)"
        return f"SELECT {', '.join(columns)} FROM {tables}"

    def _problem(self, error: sqlite3.Error, seconds: float) -> Exception:
        """Return what is wrong as one sentence; damage of the file is passed on as it is."""
        name, text = told(self.expression), str(error)
        if "interrupted" in text:
            return FilterProblem(f"{name} ran for more than {seconds:g} seconds; ask for less.")
        if "not authorized" in text or "prohibited" in text or "no such function" in text:
            return FilterProblem(
                f"{name} uses what a filter may not ({text}); it has comparisons, AND, OR, NOT, IN, BETWEEN, "
                f"LIKE, IS NULL and the functions {', '.join(sorted(FUNCTIONS))}."
            )
        if "malformed" in text or "not a database" in text or "disk" in text:
            return error
        if missing := re.search(r"no such column: (.*)", text):
            return FilterProblem(f"{name}: there is no field {missing[1]!r}; {listed(self.types)}")
        return FilterProblem(f"{name} is no filter ({text}); {listed(self.types)}")


def _authorizer() -> Callable[..., int]:
    """Return an authorizer for one statement: one SELECT of the store's tables, with known functions."""
    selects = 0

    def authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        nonlocal selects
        if action == sqlite3.SQLITE_SELECT:
            # The filter itself is written as a SELECT from a SELECT; a third would be the user's.
            selects += 1
            return sqlite3.SQLITE_OK if selects <= 2 else sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_READ:
            return sqlite3.SQLITE_OK if first in ("documents", "fields", "") else sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_FUNCTION:
            allowed = second in FUNCTIONS or second == WIDENED
            return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_DENY

    return authorize


def _has(value: Any, wanted: Any) -> bool | None:
    """``has(field, value)``: does the list hold it; a single value is a list of one."""
    if value is None:
        return None
    if isinstance(value, str) and value.startswith("["):
        try:
            items = json.loads(value)
        except ValueError:
            items = [value]
        return bool(wanted in items)
    return bool(value == wanted)
