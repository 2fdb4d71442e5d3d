"""Milvus: impact values as a sparse float vector, term ids as its dimensions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from scipy import sparse

from lsr.errors import UserError
from lsr.export.engine import Engine

FIELD = "impacts"
# The longest string and the longest JSON value that Milvus stores, in bytes.
_LONGEST = 65_535
_ROWS_A_FILE = 20_000
INDEX = {
    "index_type": "SPARSE_INVERTED_INDEX",
    "metric_type": "IP",
    "params": {"inverted_index_algo": "DAAT_MAXSCORE"},
}
# Nothing of a query is dropped.
SEARCH = {"metric_type": "IP", "params": {"drop_ratio_search": 0.0}}


@dataclass(frozen=True)
class Column:
    """A field of the collection: its name, the name of its data type, and parameters of that."""

    name: str
    kind: str
    parameters: dict[str, Any] = field(default_factory=dict)


class Milvus(Engine):
    """Documents as rows; the document's place is the primary key."""

    name = "milvus"
    title = "Milvus"

    @property
    def columns(self) -> list[Column]:
        """The fields of the collection."""
        longest: dict[str, Any] = {"max_length": _LONGEST}
        columns = [Column("number", "INT64", {"is_primary": True}), Column("id", "VARCHAR", longest)]
        if self.source.store_texts:
            columns += [
                Column("title", "VARCHAR", longest),
                Column("text", "VARCHAR", longest),
                Column("metadata", "JSON"),
            ]
        return [*columns, Column(FIELD, "SPARSE_FLOAT_VECTOR")]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield documents as rows. Milvus takes no empty vector: documents without terms are left out."""
        empty = cut = 0
        for batch in self.source.batches():
            values = self.source.values(batch.codes)
            for i, document in enumerate(batch.documents):
                start, stop = int(values.indptr[i]), int(values.indptr[i + 1])
                if start == stop:
                    empty += 1
                    continue
                if len(document.id.encode()) > _LONGEST:
                    raise UserError(
                        f"The id of the document {document.id[:40]!r}... is longer than the {_LONGEST:,} bytes that "
                        "Milvus takes; index the corpus with shorter ids."
                    )
                row: dict[str, Any] = {"number": batch.first + i, "id": document.id}
                if self.source.store_texts:
                    title, text = cut_to(document.title, _LONGEST), cut_to(document.text or "", _LONGEST)
                    metadata = document.metadata
                    if len(json.dumps(metadata, ensure_ascii=False).encode()) > _LONGEST:
                        metadata = {}
                    cut += (title, text, metadata) != (document.title, document.text or "", document.metadata)
                    row |= {"title": title, "text": text, "metadata": metadata}
                indices, data = values.indices[start:stop].tolist(), values.data[start:stop].tolist()
                row[FIELD] = dict(zip(indices, data, strict=True))
                yield row
        if empty:
            self.notes.append(
                f"{empty:,} without any term left out: Milvus takes no empty vector, and they can't be found."
            )
        if cut:
            self.notes.append(
                f"{cut:,} with a title, text or fields of more than the {_LONGEST:,} bytes that Milvus stores: cut, or "
                "fields left out."
            )

    def write(self, folder: Path) -> None:
        """Write ``collection.json``, a REST request, and ``rows-*.json``, files for bulk import."""
        request = {
            "collectionName": self.collection,
            "schema": self._schema(),
            "indexParams": [self._index()],
        }
        (folder / "collection.json").write_text(json.dumps(request, indent=1) + "\n", encoding="utf-8")
        for number, rows in enumerate(_in_groups(self.rows(), _ROWS_A_FILE)):
            with (folder / f"rows-{number:05}.json").open("w", encoding="utf-8") as file:
                for i, row in enumerate(rows):
                    file.write('{"rows": [\n' if i == 0 else ",\n")
                    file.write(json.dumps(row, ensure_ascii=False))
                file.write("\n]}\n")

    def _schema(self) -> dict[str, Any]:
        names = {"INT64": "Int64", "VARCHAR": "VarChar", "SPARSE_FLOAT_VECTOR": "SparseFloatVector"}
        fields = []
        for column in self.columns:
            form: dict[str, Any] = {
                "fieldName": column.name,
                "dataType": names.get(column.kind, column.kind),
            }
            if column.parameters.get("is_primary"):
                form["isPrimary"] = True
            if "max_length" in column.parameters:
                form["elementTypeParams"] = {"max_length": str(column.parameters["max_length"])}
            fields.append(form)
        return {"autoId": False, "enableDynamicField": False, "fields": fields}

    def _index(self) -> dict[str, Any]:
        return {
            "fieldName": FIELD,
            "indexName": FIELD,
            "metricType": INDEX["metric_type"],
            "indexType": INDEX["index_type"],
            "params": INDEX["params"],
        }

    def query(self, weights: sparse.csr_array, k: int) -> dict[str, Any]:
        """Return the body of a REST search."""
        return {
            "collectionName": self.collection,
            "data": [{str(term): weight for term, weight in self.vector(weights).items()}],
            "annsField": FIELD,
            "limit": k,
            "outputFields": ["id"],
            "searchParams": SEARCH,
        }

    def vector(self, weights: sparse.csr_array) -> dict[int, float]:
        """Return a query of one row by term id."""
        return dict(zip(weights.indices.tolist(), weights.data.tolist(), strict=True))

    def guide(self) -> str:
        """Return how the files are loaded and how a query is put."""
        return f"""\
## Load

Create the collection, then import the files (from the object storage that your Milvus imports from):

    curl -X POST "$URL/v2/vectordb/collections/create" -H 'Content-Type: application/json' --data-binary @collection.json
    curl -X POST "$URL/v2/vectordb/jobs/import/create" -H 'Content-Type: application/json' \\
      -d '{{"collectionName": "{self.collection}", "files": [["rows-00000.json"]]}}'

or insert the objects under `rows` with pymilvus, or let `lsr export INDEX --to milvus --url URL` do both; URL may be a
path, for milvus-lite.

## What is stored

`{FIELD}`: the stored impact values, float32; dimensions are term ids. The primary key `number` is the document's
place. Documents without any term are left out, since Milvus takes no empty vector; strings and fields end at
{_LONGEST:,} bytes.

## Query

    client.search("{self.collection}", data=[{{1012: 4.1, 2871: 2.7}}], limit=10, output_fields=["id"],
                  search_params={json.dumps(SEARCH)})

with a query's weights by term id (`query_terms.jsonl`). Scores are those of the index exported, up to the order in
which floats are added; Milvus orders equal scores as it likes.
"""


def cut_to(text: str, most: int) -> str:
    """Return as much of a text as `most` bytes of UTF-8 hold."""
    encoded = text.encode()
    return text if len(encoded) <= most else encoded[:most].decode(errors="ignore")


def _in_groups(rows: Iterator[dict[str, Any]], most: int) -> Iterator[Iterator[dict[str, Any]]]:
    """Yield the rows in groups, each to be used up before the next."""
    for first in rows:
        yield chain([first], islice(rows, most - 1))
