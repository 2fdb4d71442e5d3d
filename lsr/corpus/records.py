"""From one record (a JSON object, a table row) to one document.

Usual field names: id from ``id``, ``_id`` or ``docid`` (BEIR, Anserini), title from ``title``, text
from ``text``, ``contents`` (Anserini), ``body`` or ``content``, term weights from ``vector``
(Anserini's JsonVectorCollection). What is left over becomes metadata: scalars and lists of scalars,
those inside an object called ``metadata`` (BEIR) lifted out of it; other nested values are dropped.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from lsr.corpus.document import Document
from lsr.corpus.options import ReadOptions
from lsr.corpus.report import BadDocument

ID_FIELDS = ("id", "_id", "docid")
TITLE_FIELD = "title"
TEXT_FIELDS = ("text", "contents", "body", "content")
VECTOR_FIELD = "vector"

_FLOAT32_MAX = 3.4028234663852886e38
# Half of the smallest float32 above 0; what is not above it rounds to nothing.
_FLOAT32_NOTHING = 2.0**-150


def id_field(fields: Collection[str], options: ReadOptions) -> str:
    """Return the field that holds the id; raises `BadDocument` when there is none."""
    wanted = (options.id_field,) if options.id_field else ID_FIELDS
    for name in wanted:
        if name in fields:
            return name
    raise BadDocument(
        f"has no {_either(wanted)} among {_listed(fields)}; name the field of the id with --id-field"
    )


def text_fields(fields: Collection[str], options: ReadOptions) -> tuple[str, ...]:
    """Return the fields that hold the text; empty only where a vector stands in for it."""
    if options.text_fields:
        found = tuple(name for name in options.text_fields if name in fields)
    else:
        found = next(((name,) for name in TEXT_FIELDS if name in fields), ())
    if not found and VECTOR_FIELD not in fields:
        wanted = options.text_fields or TEXT_FIELDS
        raise BadDocument(
            f"has no {_either(wanted)} among {_listed(fields)}; name the field of the text with --text-field"
        )
    return found


def document_from_record(
    record: Mapping[str, Any], options: ReadOptions, location: str, *, untyped: bool = False
) -> Document:
    """Return the document that `record` holds; `untyped` for a row of a table without types.

    Raises `BadDocument` for a missing or unusable id, text that is not a string, characters that
    cannot be stored, and vectors with weights that are not finite numbers of at least 0.
    """
    id_name = id_field(record, options)
    text_names = text_fields(record, options)
    title_name = options.title_field or TITLE_FIELD
    if options.title_field and title_name not in record:
        raise BadDocument(
            f"has no {title_name!r} among {_listed(record)}; --title-field names a field that it has"
        )

    title = record.get(title_name)
    # A title named among the texts is not to count twice; alone, it is the text.
    if text_names == (title_name,):
        title = None
    text_names = tuple(name for name in text_names if name != title_name) or text_names
    document = Document(
        id=checked_id(record[id_name], id_name),
        text=_joined_text(record, text_names),
        title="" if title is None else storable_text(title, title_name),
        metadata=_metadata(record, {id_name, title_name, VECTOR_FIELD, *text_names}),
        vector=checked_vector(record[VECTOR_FIELD]) if VECTOR_FIELD in record else None,
        location=location,
        untyped=untyped,
    )
    return document


def checked_id(value: Any, name: str) -> str:
    """Return an id as a string; integers are accepted."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise BadDocument(f"{name!r} is {_kind(value)}; an id is a string or a whole number")
    if not value:
        raise BadDocument(f"{name!r} is empty; every document needs an id")
    if "\n" in value or "\t" in value or "\r" in value:
        raise BadDocument(f"{name!r} holds a line break or a tab, which run files cannot carry")
    return checked_text(value, name)


def checked_text(value: Any, name: str) -> str:
    """Return `value` when it is a string that can be stored, without NUL.

    NUL ends strings for some readers of an index, so ids and terms must not hold it; a file of text
    that does is more likely a picture or UTF-16.
    """
    text = storable_text(value, name)
    if "\0" in text:
        raise BadDocument(f"{name!r} holds a NUL character")
    return text


def storable_text(value: Any, name: str) -> str:
    """Return `value` when it is a string that can be stored as UTF-8.

    NUL is allowed: text taken from PDFs and old databases has it here and there.
    """
    if not isinstance(value, str):
        raise BadDocument(f"{name!r} is {_kind(value)}, not a string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadDocument(
                f"{name!r} holds half a character (lone surrogate U+{ord(value[error.start]):04X}), "
                "which cannot be stored"
            ) from error
    return value


def checked_vector(value: Any) -> dict[str, float]:
    """Return term weights, finite, at least 0 and within float32, less those that round to 0 there."""
    if not isinstance(value, Mapping):
        raise BadDocument(f"{VECTOR_FIELD!r} is {_kind(value)}, not an object of terms and weights")
    weights = value.values()
    are_numbers = set(map(type, weights)) <= {int, float}
    if not (are_numbers and all(0 <= weight <= _FLOAT32_MAX for weight in weights)):
        for term, weight in value.items():
            if type(weight) not in (int, float):
                raise BadDocument(f"the weight of {term!r} is {_kind(weight)}, not a number")
            if not 0 <= weight <= _FLOAT32_MAX:
                shown = "too large" if _FLOAT32_MAX < weight < math.inf else str(weight)[:30]
                raise BadDocument(f"the weight of {term!r} is {shown}; weights are finite and at least 0")
    checked_text("".join(value), VECTOR_FIELD)
    if "" in value:
        raise BadDocument(f"{VECTOR_FIELD!r} has a weight for the empty term")
    return {term: float(weight) for term, weight in value.items() if weight > _FLOAT32_NOTHING}


def _joined_text(record: Mapping[str, Any], names: tuple[str, ...]) -> str:
    if not names:
        return ""
    if len(names) == 1:
        return storable_text(record[names[0]], names[0])
    # Of several fields some may be null, as long as one is not.
    present = [name for name in names if record[name] is not None] or list(names[:1])
    return "\n".join(storable_text(record[name], name) for name in present)


def _metadata(record: Mapping[str, Any], used: set[str]) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    inner = record.get("metadata")
    if isinstance(inner, Mapping) and "metadata" not in used:
        for name, value in inner.items():
            if _is_storable(value, str(name)):
                metadata[str(name)] = value
    for name, value in record.items():
        if name not in used and _is_storable(value, name):
            metadata[name] = value
    return metadata


def _is_storable(value: Any, name: str) -> bool:
    """Tell values that metadata keeps from those it drops; raises for those that no file can hold."""
    if value is None:
        return False
    if isinstance(value, str):
        checked_text(name, name)
        storable_text(value, name)
        return True
    if isinstance(value, float) and not math.isfinite(value):
        raise BadDocument(f"{name!r} is {value}, which is no number")
    if isinstance(value, (bool, int, float)):
        checked_text(name, name)
        return True
    if isinstance(value, list):
        return all(not isinstance(item, list) and _is_storable(item, name) for item in value)
    return False


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, str):
        return "a string"
    return f"of type {type(value).__name__}"


def _either(names: Collection[str]) -> str:
    shown = [repr(name) for name in names]
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + f" or {shown[-1]}"


def _listed(fields: Collection[str]) -> str:
    shown = ", ".join(repr(name) for name in list(fields)[:8]) or "none"
    return f"its fields ({shown}{', ...' if len(fields) > 8 else ''})"
