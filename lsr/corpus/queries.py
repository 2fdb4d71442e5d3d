"""Files of queries: BEIR JSON Lines, or TSV with an id and a text on each line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsr.corpus.jsonl import parse_object
from lsr.corpus.options import ReadOptions
from lsr.corpus.records import VECTOR_FIELD, checked_id, checked_text, checked_vector
from lsr.corpus.report import BadDocument, ReadReport
from lsr.corpus.streams import STANDARD_INPUT, describe_decode_error, open_bytes, read_lines
from lsr.errors import UserError

ID_FIELDS = ("_id", "id", "qid", "query_id")
TEXT_FIELDS = ("text", "query", "contents", "title")
_HEADER_IDS = frozenset({*ID_FIELDS, "query-id", "queryid", "topic"})


@dataclass(frozen=True, slots=True)
class Query:
    """One query; `vector` holds term weights where it was encoded elsewhere."""

    id: str
    text: str
    vector: dict[str, float] | None = None


def read_queries(path: str | Path, encoding: str = "utf-8") -> list[Query]:
    """Return the queries of a file, ``-`` for standard input, plain, .gz or .zst, in its order.

    Lines are JSON objects (id from ``_id``, ``id``, ``qid`` or ``query_id``; text from ``text``,
    ``query``, ``contents`` or ``title``; optionally ``vector``) or ``id<TAB>text``: the first line
    tells which. A TSV header is skipped where its first cell is a usual name of an id. Raises
    `UserError` with file and line for a line that cannot be used and for an id that comes twice.
    """
    ReadOptions(encoding=encoding)  # refuses an unknown encoding
    name = "standard input" if path == STANDARD_INPUT else str(path)
    queries: list[Query] = []
    lines_by_id: dict[str, int] = {}
    with open_bytes(path, ReadReport()) as stream:
        for number, query in _parse(read_lines(stream, encoding, name), encoding, name):
            if query.id in lines_by_id:
                first = lines_by_id[query.id]
                raise UserError(
                    f"{name}:{number}: the query id {query.id!r} is that of line {first} already; ids differ."
                )
            lines_by_id[query.id] = number
            queries.append(query)
    return queries


def _parse(
    lines: Iterator[tuple[int, str | UnicodeDecodeError]], encoding: str, name: str
) -> Iterator[tuple[int, Query]]:
    is_json: bool | None = None
    for number, line in lines:
        try:
            if isinstance(line, UnicodeDecodeError):
                raise BadDocument(describe_decode_error(line, encoding))
            if not line.strip():
                continue
            is_header = False
            if is_json is None:
                is_json = line.lstrip()[0] in "{["
                is_header = not is_json and line.split("\t")[0].strip().lower() in _HEADER_IDS
            if is_json:
                record = parse_object(line, encoding)
                if record is not None:
                    yield number, _from_record(record)
            elif not is_header:
                yield number, _from_tabs(line)
        except BadDocument as bad:
            raise UserError(f"{name}:{number}: {bad}.") from bad


def _from_record(record: dict[str, Any]) -> Query:
    id_name = next((field for field in ID_FIELDS if field in record), None)
    if id_name is None:
        raise BadDocument(f"the query has no id; it is looked for in {', '.join(ID_FIELDS)}")
    text_name = next((field for field in TEXT_FIELDS if field in record), None)
    if text_name is None and VECTOR_FIELD not in record:
        raise BadDocument(f"the query has no text; it is looked for in {', '.join(TEXT_FIELDS)}")
    return Query(
        id=checked_id(record[id_name], id_name),
        text="" if text_name is None else checked_text(record[text_name], text_name),
        vector=checked_vector(record[VECTOR_FIELD]) if record.get(VECTOR_FIELD) is not None else None,
    )


def _from_tabs(line: str) -> Query:
    query_id, tab, text = line.rstrip("\r\n").partition("\t")
    if not tab:
        raise BadDocument("has no tab; a line of queries is ID<TAB>TEXT, or a JSON object with _id and text")
    return Query(id=checked_id(query_id.strip(), "the id"), text=checked_text(text, "the text"))
