"""Documents between reading and indexing: Parquet files of some thousands each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lsr.cluster.work_folder import write_whole
from lsr.corpus import Document

CHUNK_DOCUMENTS = 20_000
CHUNK_CHARACTERS = 64_000_000
_ROWS_A_GROUP = 1_000
_SCHEMA = pa.schema(
    [
        ("id", pa.large_string()),
        ("title", pa.large_string()),
        ("text", pa.large_string()),
        ("metadata", pa.large_string()),
        ("vector", pa.large_string()),
        ("location", pa.large_string()),
        ("untyped", pa.bool_()),
    ]
)


class Span(NamedTuple):
    """Documents `start` to `stop` of a chunk, of those that were not dropped from it."""

    chunk: int
    start: int
    stop: int


def in_chunks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Yield documents in lists of bounded size."""
    chunk: list[Document] = []
    characters = 0
    for document in documents:
        chunk.append(document)
        characters += len(document.text)
        if len(chunk) >= CHUNK_DOCUMENTS or characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def write_chunk(path: Path, documents: Sequence[Document]) -> None:
    """Write documents to a file."""
    columns: list[list[Any]] = [
        [d.id for d in documents],
        [d.title for d in documents],
        [d.text for d in documents],
        [json.dumps(d.metadata) if d.metadata else None for d in documents],
        [None if d.vector is None else json.dumps(d.vector) for d in documents],
        [d.location for d in documents],
        [d.untyped for d in documents],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=_SCHEMA)
    write_whole(
        path, lambda file: pq.write_table(table, file, row_group_size=_ROWS_A_GROUP, compression="zstd")
    )


def read_chunk(path: Path, rows: NDArray[np.int64]) -> Iterator[Document]:
    """Yield the documents of some rows, which rise."""
    if not len(rows):
        return
    with pq.ParquetFile(path) as file:
        first, last = int(rows[0]) // _ROWS_A_GROUP, int(rows[-1]) // _ROWS_A_GROUP
        for group in range(first, last + 1):
            wanted = rows[
                np.searchsorted(rows, group * _ROWS_A_GROUP) : np.searchsorted(
                    rows, (group + 1) * _ROWS_A_GROUP
                )
            ]
            if not len(wanted):
                continue
            for row in file.read_row_group(group).take(wanted - group * _ROWS_A_GROUP).to_pylist():
                yield Document(
                    id=row["id"],
                    text=row["text"],
                    title=row["title"],
                    metadata=json.loads(row["metadata"]) if row["metadata"] else {},
                    vector=None if row["vector"] is None else json.loads(row["vector"]),
                    location=row["location"],
                    untyped=row["untyped"],
                )
