"""Typed fields: what filters can ask about documents, beside the metadata that results show.

A field's type is inferred from all of its values: ``boolean``, ``integer`` (64 bits), ``number``
(float64), ``text`` or ``list``. Values of different types make it the narrowest type that holds
them all: integers and numbers are numbers; anything with a list is a list, a single value being a
list of one; any other mixture is text. The same rule holds across the segments of an index, so a
field's type doesn't depend on how documents were spread over adds. Cells of tables without types
(CSV, TSV) count as what they read as: ``2020`` as an integer, ``0.5`` as a number, ``0123`` as text.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from lsr.index.errors import IndexProblem

FieldType = Literal["boolean", "integer", "number", "text", "list"]

# SQLite's tables hold 2,000 columns. Later fields are shown in results and cannot be filtered.
MOST_FIELDS = 1_000

_COLUMN_TYPES = {
    "boolean": "INTEGER",
    "integer": "INTEGER",
    "number": "NUMERIC",
    "text": "TEXT",
    "list": "TEXT",
}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII)
# Digits before the point are few enough for a float64; leading zeros make a code (007), not a number.
_NUMBER = re.compile(r"-?((0|[1-9][0-9]{0,17})(\.[0-9]*|(?=[eE]))|\.[0-9]+)([eE][+-]?[0-9]{1,2})?", re.ASCII)
_INTEGER_64 = 1 << 63


def kind_of(value: Any) -> FieldType | None:
    """Return the type of one value; None for what no filter can ask about (null, objects)."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer" if -_INTEGER_64 <= value < _INTEGER_64 else "number"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, (list, tuple)):
        return "list"
    return None


def kind_of_cell(value: Any) -> FieldType | None:
    """Return the type that a table's cell reads as."""
    if not isinstance(value, str):
        return kind_of(value)
    if _INTEGER.fullmatch(value):
        return "integer"
    return "number" if _NUMBER.fullmatch(value) else "text"


def common_type(kinds: Iterable[str]) -> FieldType:
    """Return the narrowest type that holds values of all `kinds`, of which there is at least one."""
    found = set(kinds)
    if "list" in found:
        return "list"
    if found <= {"integer"}:
        return "integer"
    if found <= {"integer", "number"}:
        return "number"
    return "boolean" if found == {"boolean"} else "text"


def typed(value: Any, kind: str) -> Any:
    """Return a value as a field of type `kind` keeps it: a cell's number as a number, say.

    None stands for a value that the type has no place for.
    """
    own = kind_of(value)
    if own is None:
        return None
    if kind == "list":
        return list(value) if own == "list" else [value]
    try:
        if kind == "text":
            return value if own == "text" else _as_text(value)
        if kind == "integer":
            return int(value)
        if kind == "number":
            return value if own == "integer" else float(value)
    except (ValueError, OverflowError):
        return None
    return value if own == "boolean" else None


def _as_text(value: float) -> str:
    """Return a number, or a truth value, as text: the same for 3 and 3.0, which SQLite keeps as one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and kind_of(value) == "number":
        value = float(value)
    return str(int(value)) if float(value).is_integer() else repr(value)


def shown(value: Any, kind: str | None) -> Any:
    """Return a value as results show it: a table's cell in a numeric field is a number."""
    if isinstance(value, str) and kind in ("integer", "number"):
        converted = typed(value, kind)
        return value if converted is None else converted
    return value


class FieldTypes:
    """Learns the types of a segment's fields while documents are added."""

    def __init__(self, kinds: Mapping[str, Iterable[str]] | None = None) -> None:
        self._kinds: dict[str, set[str]] = {name: set(found) for name, found in (kinds or {}).items()}

    def observe(self, metadata: Mapping[str, Any], *, untyped: bool) -> None:
        """Count in one document; `untyped` says that strings are cells of a table without types."""
        for name, value in metadata.items():
            kind = kind_of_cell(value) if untyped else kind_of(value)
            if kind is None:
                continue
            kinds = self._kinds.get(name)
            if kinds is not None:
                kinds.add(kind)
            elif len(self._kinds) < MOST_FIELDS:
                self._kinds[name] = {kind}

    def include(self, types: Mapping[str, FieldType]) -> None:
        """Count in the fields of a finished store."""
        for name, kind in types.items():
            if name in self._kinds or len(self._kinds) < MOST_FIELDS:
                self._kinds.setdefault(name, set()).add(kind)

    @property
    def kinds(self) -> dict[str, list[str]]:
        """What was seen so far, as JSON values."""
        return {name: sorted(kinds) for name, kinds in self._kinds.items()}

    def types(self) -> dict[str, FieldType]:
        """Return the type of each field, in the order of first occurrence."""
        return {name: common_type(kinds) for name, kinds in self._kinds.items()}


def write_fields(connection: sqlite3.Connection, types: Mapping[str, FieldType]) -> None:
    """Write the tables of fields from the metadata of a store's documents; nothing without fields.

    ``field_types`` names the fields, ``fields`` has a row for every document and a column ``c<n>``
    for the n-th field: names of fields never become names of columns.
    """
    connection.execute("DROP TABLE IF EXISTS fields")
    connection.execute("DROP TABLE IF EXISTS field_types")
    if not types:
        return
    connection.execute("CREATE TABLE field_types (position INTEGER PRIMARY KEY, name TEXT, type TEXT)")
    rows = [(position, name, kind) for position, (name, kind) in enumerate(types.items())]
    connection.executemany("INSERT INTO field_types VALUES (?, ?, ?)", rows)
    columns = "".join(f", c{n} {_COLUMN_TYPES[kind]}" for n, kind in enumerate(types.values()))
    connection.execute(f"CREATE TABLE fields (number INTEGER PRIMARY KEY{columns})")
    marks = ", ?" * len(types)
    cursor = connection.execute("SELECT number, metadata FROM documents ORDER BY number")
    connection.executemany(
        f"INSERT INTO fields VALUES (?{marks})", (_row(number, stored, types) for number, stored in cursor)
    )


def _row(number: int, metadata: str | None, types: Mapping[str, str]) -> list[Any]:
    try:
        values = json.loads(metadata) if metadata else {}
    except (ValueError, TypeError, RecursionError):
        values = None
    if not isinstance(values, dict):  # Of a segment that is merged, that is.
        raise IndexProblem(f"The metadata of document {number} is damaged; build the index again.")
    row: list[Any] = [number]
    for name, kind in types.items():
        value = typed(values[name], kind) if name in values else None
        row.append(json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value)
    return row


def read_field_types(connection: sqlite3.Connection) -> dict[str, FieldType]:
    """Return the fields of a store by position, none for one written before there were any.

    Raises:
        ValueError: where the table does not hold names and types.
    """
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'field_types'").fetchone():
        return {}
    types: dict[str, FieldType] = {}
    rows = connection.execute("SELECT position, name, type FROM field_types ORDER BY position").fetchall()
    for expected, (position, name, kind) in enumerate(rows):
        if (
            position != expected
            or not isinstance(name, str)
            or "\0" in name
            or kind not in get_args(FieldType)
        ):
            raise ValueError(f"field {position} is of no known type")
        types[name] = kind
    if len(types) != len(rows):
        raise ValueError("a field occurs twice")
    return types


def widened(value: Any, kind: str, wanted: str) -> Any:
    """Return a stored column value of type `kind` as one of the wider type `wanted`."""
    if value is None or kind == wanted:
        return value
    found = bool(value) if kind == "boolean" else value
    wide = typed(found, wanted)
    return json.dumps(wide, ensure_ascii=False) if isinstance(wide, list) else wide
