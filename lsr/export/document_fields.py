"""A document's fields, split into those that an engine can filter by and the others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lsr.index.fields import FieldType, typed

# Names that every engine takes as they are: no dots, no leading digits or underscores, no spaces.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")


def filterable(types: Mapping[str, FieldType]) -> dict[str, FieldType]:
    """Return the fields with names that any engine takes."""
    return {name: kind for name, kind in types.items() if _PLAIN.fullmatch(name)}


def split_fields(
    metadata: Mapping[str, Any], types: Mapping[str, FieldType]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values of the fields in `types`, of their type, and all that does not fit there."""
    fitting: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in metadata.items():
        found = typed(value, types[name]) if name in types else None
        if found is None:
            others[name] = value
        else:
            fitting[name] = found
    return fitting, others
