"""OpenSearch and Elasticsearch: impacts as features of Lucene, searched by a sum of linear queries.

A Lucene feature keeps 9 significant bits of a float. The codes of an 8-bit grid need 8, so they are
kept exactly, where the values they stand for would be off by up to 0.4 %. Queries carry what a code is
worth, so that scores are this index's.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.errors import UserError
from lsr.export.document_fields import filterable, split_fields
from lsr.export.engine import Engine
from lsr.export.names import engine_names, without_dots
from lsr.export.parts import PartWriter

FIELD = "impacts"
_SIGNIFICANT_BITS = 9
# Elasticsearch and OpenSearch refuse longer ids.
_ID_BYTES = 512
# A keyword longer than Lucene's longest term, 32,766 bytes, would be refused with its document.
_KEYWORD_LETTERS = 8_191
_TYPES = {
    "boolean": {"type": "boolean"},
    "integer": {"type": "long"},
    "number": {"type": "double"},
    "text": {"type": "keyword", "ignore_above": _KEYWORD_LETTERS},
    "list": {"type": "keyword", "ignore_above": _KEYWORD_LETTERS},
}


class FeatureEngine(Engine):
    """What the two engines share."""

    field_type: ClassVar[dict[str, Any]]

    @cached_property
    def names(self) -> list[str]:
        """What each term is called."""
        return engine_names(self.source.terms)

    @cached_property
    def _fields(self) -> dict[str, Any]:
        return dict(filterable(self.source.index.fields))

    def mapping(self) -> dict[str, Any]:
        """Return the body that creates the index."""
        index = self.source.index
        about = {
            "documents": index.document_count,
            "step": self.source.step,
            "impact_bits": index.manifest.grid.bits,
            "fingerprint": index.manifest.encoder["fingerprint"],
        }
        properties: dict[str, Any] = {"number": {"type": "long"}, FIELD: dict(self.field_type)}
        if self.source.store_texts:
            properties |= {
                "title": {"type": "text"},
                "text": {"type": "text"},
                "fields": {
                    "type": "object",
                    "dynamic": False,
                    "properties": {name: _TYPES[kind] for name, kind in self._fields.items()},
                },
                "metadata": {"type": "object", "enabled": False},
            }
        return {"mappings": {"dynamic": False, "_meta": {"lsr": about}, "properties": properties}}

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the id and the body of every document.

        Raises:
            UserError: for an id that is too long for the engine.
        """
        names = self.names
        for batch in self.source.batches():
            values = significant(batch.codes.data)
            for i, document in enumerate(batch.documents):
                if len(document.id.encode()) > _ID_BYTES:
                    raise UserError(
                        f"The id of the document {document.id[:40]!r}... has {len(document.id.encode())} bytes, and "
                        f"{self.title} takes {_ID_BYTES}; index the corpus with shorter ids."
                    )
                part = slice(batch.codes.indptr[i], batch.codes.indptr[i + 1])
                terms = map(names.__getitem__, batch.codes.indices[part].tolist())
                features = dict(zip(terms, values[part].tolist(), strict=True))
                body: dict[str, Any] = {"number": batch.first + i, FIELD: features}
                if self.source.store_texts:
                    body |= {"title": document.title, "text": document.text or ""}
                    fields, others = split_fields(document.metadata, self._fields)
                    if fields:
                        body["fields"] = fields
                    if others:
                        body["metadata"] = others
                yield document.id, body

    def write(self, folder: Path) -> None:
        """Write ``index.json``, which creates the index, and ``bulk-*.ndjson``, which fill it."""
        body = json.dumps(self.mapping(), indent=1, ensure_ascii=False)
        (folder / "index.json").write_text(body + "\n", encoding="utf-8")
        with PartWriter(folder, "bulk", "ndjson") as parts:
            for number, row in self.rows():
                parts.write(
                    json.dumps({"index": {"_id": number}}, ensure_ascii=False),
                    json.dumps(row, ensure_ascii=False),
                )

    def named_weights(self, weights: sparse.csr_array) -> dict[str, float]:
        """Return the weights of a query of one row by name, times what a code is worth."""
        scaled = weights.data.astype(np.float64) * self.source.step
        names = map(self.names.__getitem__, weights.indices.tolist())
        return dict(zip(names, scaled.tolist(), strict=True))

    def query(self, weights: sparse.csr_array, k: int) -> dict[str, Any]:
        """Return the body of a search."""
        return {
            "size": k,
            "_source": False,
            "query": self.clause(self.named_weights(weights)),
            # Equal scores are ordered by the earlier document, as this index orders them.
            "sort": [{"_score": "desc"}, {"number": "asc"}],
        }

    @abstractmethod
    def clause(self, weights: dict[str, float]) -> dict[str, Any]:
        """Return the query clause for named weights."""

    def guide(self) -> str:
        """Return how the files are loaded and how a query is put."""
        example = json.dumps(self.clause({"solar": 0.017, "panel": 0.013}))
        return f"""\
## Load

    curl -X PUT  "$URL/{self.collection}" -H 'Content-Type: application/json' --data-binary @index.json
    for part in bulk-*.ndjson; do
      curl -X POST "$URL/{self.collection}/_bulk" -H 'Content-Type: application/x-ndjson' --data-binary "@$part"
    done
    curl -X POST "$URL/{self.collection}/_refresh"

A bulk answer with `"errors": true` names the documents that were refused.

## What is stored

`{FIELD}` ({self.field_type["type"]}) holds the stored impacts as integer codes, 1 to {self.source.levels}; a code is worth
`step` = {self.source.step!r}. Lucene keeps 9 significant bits of a feature, so codes up to 511 are kept exactly.
`number` is the document's place, which orders equal scores. `fields` can be filtered by, `metadata` can't.
{self._names_said()}
## Query

Give each term its query weight times `step`, and scores are those of the index exported:

    POST {self.collection}/_search
    {{"query": {example},
     "sort": [{{"_score": "desc"}}, {{"number": "asc"}}]}}
"""

    def _names_said(self) -> str:
        return ""


class OpenSearch(FeatureEngine):
    """``rank_features`` and the neural_sparse query, which comes with OpenSearch 2.14 and later."""

    name = "opensearch"
    title = "OpenSearch"
    field_type: ClassVar = {"type": "rank_features"}
    # Lucene's limit for the weight of one linear feature query.
    _HEAVIEST = 64.0

    def clause(self, weights: dict[str, float]) -> dict[str, Any]:
        """Return a neural_sparse query of raw tokens."""
        return {"neural_sparse": {FIELD: {"query_tokens": weights}}}

    def query(self, weights: sparse.csr_array, k: int) -> dict[str, Any]:
        """Return the body of a search; a `boost` makes up for weights above Lucene's limit of 64."""
        named = self.named_weights(weights)
        heaviest = max(named.values(), default=0.0)
        body = super().query(weights, k)
        if heaviest > self._HEAVIEST:
            lighter = {name: weight * self._HEAVIEST / heaviest for name, weight in named.items()}
            body["query"] = self.clause(lighter)
            body["query"]["neural_sparse"][FIELD]["boost"] = heaviest / self._HEAVIEST
        return body


class Elasticsearch(FeatureEngine):
    """``sparse_vector`` and the query of that name, Elasticsearch 8.15 and later."""

    name = "elasticsearch"
    title = "Elasticsearch"
    field_type: ClassVar = {"type": "sparse_vector"}

    @cached_property
    def names(self) -> list[str]:
        """What each term is called: before 8.16 dots were refused in names of features."""
        return engine_names(self.source.terms, without_dots)

    def clause(self, weights: dict[str, float]) -> dict[str, Any]:
        """Return a sparse_vector query that drops no term, as those of Elasticsearch 9.1 would by default."""
        return {"sparse_vector": {"field": FIELD, "query_vector": weights, "prune": False}}

    def _names_said(self) -> str:
        changed = sum(name != term for name, term in zip(self.names, self.source.terms, strict=True))
        if not changed:
            return ""
        return (
            f"Dots in terms are written `__` ({changed:,} terms, `query_terms.jsonl` has all names): Elasticsearch before "
            "8.16 refuses dots there.\n"
        )


def significant(codes: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.int64]:
    """Return codes rounded to the 9 significant bits that Lucene keeps, same shape.

    Lucene itself would cut the other bits off; rounding halves the largest error.
    """
    values = codes.astype(np.int64)
    spare = np.maximum(np.frexp(values.astype(np.float64))[1] - _SIGNIFICANT_BITS, 0)
    half = np.where(spare > 0, np.left_shift(1, np.maximum(spare - 1, 0)), 0)
    rounded: NDArray[np.int64] = np.left_shift(np.right_shift(values + half, spare), spare)
    return rounded


def as_bulk(rows: Iterator[tuple[str, dict[str, Any]]], collection: str) -> Iterator[dict[str, Any]]:
    """Yield documents as the clients' bulk helpers take them."""
    for number, body in rows:
        yield {"_op_type": "index", "_index": collection, "_id": number, "_source": body}


def found_in(answer: dict[str, Any]) -> Sequence[tuple[str, float]]:
    """Return the ids and scores of a search's answer."""
    return [(hit["_id"], float(hit["_score"])) for hit in answer["hits"]["hits"]]
