"""JSON Lines: one object a line, plain or compressed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lsr.corpus.document import Document
from lsr.corpus.options import ReadOptions
from lsr.corpus.records import document_from_record
from lsr.corpus.report import BadDocument, ReadReport
from lsr.corpus.streams import (
    STANDARD_INPUT,
    describe_decode_error,
    open_bytes,
    open_range,
    read_lines,
)


def read_jsonl(path: Path | str, options: ReadOptions, report: ReadReport) -> Iterator[Document]:
    """Yield the documents of a JSON Lines file, or of standard input for ``-``; empty lines are skipped."""
    name = "standard input" if path == STANDARD_INPUT else str(path)
    with open_bytes(path, report) as stream:
        yield from _documents(read_lines(stream, options.encoding, name), name, options, report)


def read_jsonl_range(
    path: Path | str, start: int, stop: int, first_line: int, options: ReadOptions, report: ReadReport
) -> Iterator[Document]:
    """Yield the documents of whole lines of an uncompressed file, bytes `start` to `stop`.

    `first_line` is the number of the first of them, for messages.
    """
    name = str(path)
    with open_range(path, start, stop, report) as stream:
        lines = read_lines(stream, options.encoding, name)
        numbered = ((number + first_line - 1, line) for number, line in lines)
        yield from _documents(numbered, name, options, report)


def _documents(
    lines: Iterator[tuple[int, str | UnicodeDecodeError]], name: str, options: ReadOptions, report: ReadReport
) -> Iterator[Document]:
    for number, line in lines:
        location = f"{name}:{number}"
        try:
            record = parse_object(line, options.encoding)
            if record is None:
                continue
            document = document_from_record(record, options, location)
        except BadDocument as bad:
            report.bad_document(location, str(bad), skip=options.skip_bad)
            continue
        yield document


def parse_object(line: str | UnicodeDecodeError, encoding: str) -> dict[str, Any] | None:
    """Return the object of one line, None for an empty line; raises `BadDocument` for anything else."""
    if isinstance(line, UnicodeDecodeError):
        raise BadDocument(describe_decode_error(line, encoding)) from line
    line = line.strip()
    if not line:
        return None
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        if line[0] == "[":
            raise BadDocument(_ARRAY) from error
        raise BadDocument(f"is not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise BadDocument("is not readable JSON: nested too deep") from error
    except ValueError as error:
        # Python refuses to parse integers of thousands of digits.
        raise BadDocument(f"is not readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadDocument(_ARRAY if isinstance(value, list) else "is JSON but not an object in {}")
    return value


_ARRAY = "holds a JSON array, and one object a line is wanted (jq -c '.[]' FILE turns an array into lines)"
