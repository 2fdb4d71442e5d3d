"""Parquet tables, read a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from lsr.corpus.document import Document
from lsr.corpus.options import ReadOptions
from lsr.corpus.records import VECTOR_FIELD, document_from_record, id_field, text_fields
from lsr.corpus.report import BadDocument, ReadReport
from lsr.corpus.streams import cannot_read
from lsr.errors import UserError

_BATCH_ROWS = 1024


def count_rows(path: Path) -> int:
    """Return the number of rows, from the file's footer alone."""
    with _Opened(path) as table:
        return int(table.metadata.num_rows)


def read_parquet(path: Path, options: ReadOptions, report: ReadReport) -> Iterator[Document]:
    """Yield the documents of a Parquet file.

    Text, number, truth and date columns are read, and ``vector`` where it is a map of terms to
    weights; other nested columns (dense embeddings, say) are left on disk. Locations are
    ``FILE:ROW``, rows counted from 1.
    """
    size = path.stat().st_size
    counted = 0
    row = 0
    with _Opened(path) as table:
        columns = _columns(table.schema_arrow)
        try:
            id_field(columns, options)
            text_fields(columns, options)
        except BadDocument as error:
            raise UserError(f"{path}: {error}.") from error
        for batch in table.iter_batches(batch_size=_BATCH_ROWS, columns=columns, use_threads=False):
            for record in batch.to_pylist():
                row += 1
                try:
                    document = document_from_record(_plain(record), options, f"{path}:{row}")
                except BadDocument as bad:
                    report.bad_document(f"{path}:{row}", str(bad), skip=options.skip_bad)
                    continue
                yield document
            report.bytes_read += size * row // max(1, table.metadata.num_rows) - counted
            counted = size * row // max(1, table.metadata.num_rows)


class _Opened:
    """An open Parquet file whose errors are told as the user's."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            self._file = pq.ParquetFile(self._path, memory_map=True, pre_buffer=False)
        except pa.ArrowException as error:
            raise self._damaged(error) from error
        except OSError as error:
            raise cannot_read(str(self._path), error) from error
        return self._file

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        import pyarrow as pa

        self._file.close()
        # Damage inside a column surfaces as an ArrowException, an OSError or undecodable text.
        if isinstance(error, (pa.ArrowException, OSError, UnicodeDecodeError)):
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> UserError:
        return UserError(f"{self._path}: is not a sound Parquet file ({str(error).splitlines()[0]}).")


def _columns(schema: Any) -> list[str]:
    """Return the names of the columns worth reading."""
    import pyarrow as pa

    columns = []
    for column in schema:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        is_vector = column.name == VECTOR_FIELD and pa.types.is_map(kind)
        if is_vector or not (pa.types.is_nested(kind) or _is_binary(kind)):
            columns.append(column.name)
    return columns


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    )


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """Return the row with JSON's types: dates as ISO strings, decimals as floats, maps as dicts."""
    plain: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, (datetime, date, time)):
            value = value.isoformat()
        elif isinstance(value, Decimal):
            value = float(value)
        elif isinstance(value, float) and value != value:
            value = None  # how tables written by pandas say that a cell is empty
        elif name == VECTOR_FIELD and isinstance(value, list):
            value = dict(value)
        if name != VECTOR_FIELD or value is not None:
            plain[name] = value
    return plain
