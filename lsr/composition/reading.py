"""From the nested mappings of a YAML file to frozen dataclasses, mistakes named by their place."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from lsr.errors import UserError

Record = TypeVar("Record")


def read_record(kind: type[Record], values: Any, place: str) -> Record:
    """Return a `kind`, a dataclass, filled from the mapping `values`.

    `place` says where the mapping stands (``model.document``). Unknown keys, values of another type
    and words that are no choice are a `UserError` that names the place and what would be right.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{place}: expected settings by name, found {values!r}.")
    hints = get_type_hints(kind)
    unknown = sorted(str(key) for key in values if key not in hints)
    if unknown:
        raise UserError(f"{place}: {unknown[0]!r} is not a setting; there are {', '.join(sorted(hints))}.")
    return kind(**{name: _read(hints[name], value, f"{place}.{name}") for name, value in values.items()})


def plain(record: Any) -> Any:
    """Return a dataclass as JSON values; `read_record` reads them back to an equal one."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {field.name: plain(getattr(record, field.name)) for field in dataclasses.fields(record)}
    return [plain(value) for value in record] if isinstance(record, tuple) else record


def _read(hint: Any, value: Any, place: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        members = get_args(hint)
        if value is None and type(None) in members:
            return None
        (hint,) = [member for member in members if member is not type(None)]
        return _read(hint, value, place)
    if origin is Literal:
        if value not in get_args(hint):
            raise UserError(f"{place}: {value!r} is not one of {', '.join(get_args(hint))}.")
        return value
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, list | tuple):
            raise UserError(f"{place}: expected a list, found {value!r}.")
        return tuple(_read(get_args(hint)[0], entry, place) for entry in value)
    if dataclasses.is_dataclass(hint):
        return read_record(hint, value, place) if not isinstance(value, hint) else value  # type: ignore[arg-type]
    return _read_plain(hint, value, place)


def _read_plain(hint: Any, value: Any, place: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str):
        # YAML 1.1 reads 1e-4, without a point, as text.
        try:
            return float(value)
        except ValueError:
            pass
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
        raise UserError(f"{place}: expected {words[hint]}, found {value!r}.")
    return value
