"""CSV and TSV with a header line.

CSV follows RFC 4180: quotes, doubled inside. TSV has no quoting at all, as the tables of the field
are written (MS MARCO): a quote is a character like any other, and a record is a line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from lsr.corpus.document import Document
from lsr.corpus.options import ReadOptions
from lsr.corpus.records import document_from_record, id_field, text_fields
from lsr.corpus.report import BadDocument, ReadReport
from lsr.corpus.streams import describe_decode_error, open_bytes, read_lines
from lsr.errors import UserError

# Python's default, 128 KiB, is less than a book; no limit at all would let one open quote pull
# the rest of the file into memory.
FIELD_LIMIT = 1 << 27


class _Lines:
    """Feeds decoded lines to a csv reader and remembers which could not be decoded."""

    def __init__(self, lines: Iterator[tuple[int, str | UnicodeDecodeError]], encoding: str) -> None:
        self._lines = lines
        self._encoding = encoding
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        self.number, line = next(self._lines)
        if isinstance(line, UnicodeDecodeError):
            raise BadDocument(describe_decode_error(line, self._encoding))
        return line


def read_table(path: Path, options: ReadOptions, report: ReadReport, *, tabs: bool) -> Iterator[Document]:
    """Yield the documents of a CSV file, or of a TSV file where `tabs` is set.

    Raises `UserError` when the header is missing or has no column for the id or the text.
    """
    with open_bytes(path, report) as stream:
        lines = _Lines(read_lines(stream, options.encoding, str(path)), options.encoding)
        previous_limit = csv.field_size_limit(FIELD_LIMIT)
        try:
            rows = (
                csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
                if tabs
                else csv.reader(lines, strict=True)
            )
            header = _read_header(rows, path, options)
            while True:
                start = lines.number + 1
                try:
                    row = next(rows)
                    if not row:
                        continue
                    if len(row) != len(header):
                        raise BadDocument(f"has {len(row)} columns where the header has {len(header)}")
                    # An empty cell is an empty title or text, but no metadata.
                    record = {
                        name: cell
                        for name, cell in zip(header, row, strict=True)
                        if cell or name in header.used
                    }
                    document = document_from_record(record, options, f"{path}:{start}", untyped=True)
                except StopIteration:
                    return
                except (BadDocument, csv.Error) as bad:
                    reason = f"{bad}; is a quote left open?" if isinstance(bad, csv.Error) else str(bad)
                    report.bad_document(f"{path}:{start}", reason, skip=options.skip_bad)
                    continue
                yield document
        finally:
            csv.field_size_limit(previous_limit)


class _Header(list[str]):
    """Column names, and those among them that a document is made from."""

    used: frozenset[str]


def _read_header(rows: Iterator[list[str]], path: Path, options: ReadOptions) -> _Header:
    try:
        header = _Header(next(row for row in rows if row))
    except StopIteration:
        raise UserError(f"{path}: is empty; a table needs a header line that names its columns.") from None
    except (BadDocument, csv.Error) as error:
        raise UserError(f"{path}:1: the header cannot be read: {error}.") from error
    for name in header:
        if header.count(name) > 1:
            raise UserError(f"{path}:1: the header names two columns {name!r}; rename one.")
    try:
        used = {id_field(header, options), *text_fields(header, options)}
    except BadDocument as error:
        raise UserError(f"{path}:1: the header {error}.") from error
    header.used = frozenset(used | {options.title_field or "title"})
    return header
