"""Vespa: impact codes as a weighted set of term ids, searched by the wand operator.

Weights in documents and queries are whole numbers of 32 bits there, and their dot product, of 64 bits,
is exact. Codes are whole numbers already; query weights are scaled so that the heaviest is a billion,
which keeps all of a float32.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from scipy import sparse

from lsr.errors import UserError
from lsr.export.document_fields import filterable, split_fields
from lsr.export.engine import Engine
from lsr.export.parts import PartWriter
from lsr.export.source import integer_weights

FIELD = "impacts"
QUERY_SCALE = 1_000_000_000
# Vespa refuses documents and queries with these: control characters, and code points that are none.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\ufdd0-\ufddf"
    + "".join(f"{chr(plane * 0x10000 + 0xFFFE)}{chr(plane * 0x10000 + 0xFFFF)}" for plane in range(1, 17))
    + "]"
)
_TYPES = {
    "boolean": "bool",
    "integer": "long",
    "number": "double",
    "text": "string",
    "list": "array<string>",
}

_SERVICES = """\
<?xml version="1.0" encoding="utf-8" ?>
<services version="1.0">
  <container id="default" version="1.0">
    <search />
    <document-api />
  </container>
  <content id="content" version="1.0">
    <min-redundancy>1</min-redundancy>
    <documents>
      <document type="{name}" mode="index" />
    </documents>
  </content>
</services>
"""


class Vespa(Engine):
    """An application package and a feed."""

    name = "vespa"
    title = "Vespa"

    @cached_property
    def _fields(self) -> dict[str, Any]:
        return dict(filterable(self.source.index.fields)) if self.source.store_texts else {}

    def schema(self) -> str:
        """Return the schema file."""
        texts = """
        field title type string {
            indexing: summary | index
            index: enable-bm25
        }
        field text type string {
            indexing: summary | index
            index: enable-bm25
        }
        field metadata type string {
            indexing: summary
        }"""
        fields = "".join(
            f"""
        field field_{name} type {_TYPES[kind]} {{
            indexing: summary | attribute
        }}"""
            for name, kind in self._fields.items()
        )
        return f"""\
schema {self.collection} {{
    document {self.collection} {{
        field id type string {{
            indexing: summary | attribute
            match: cased
        }}
        field number type long {{
            indexing: summary | attribute
        }}{texts if self.source.store_texts else ""}{fields}
        field {FIELD} type weightedset<int> {{
            indexing: attribute
            attribute: fast-search
        }}
    }}
    document-summary ids {{
        summary id {{}}
        summary number {{}}
    }}
    rank-profile {FIELD} {{
        first-phase {{
            expression: rawScore({FIELD})
        }}
    }}
}}
"""

    def operations(self) -> Iterator[dict[str, Any]]:
        """Yield documents as put operations.

        Raises:
            UserError: for an id with characters that Vespa refuses; in texts they become spaces.
        """
        replaced = 0
        for batch in self.source.batches():
            codes = batch.codes
            for i, document in enumerate(batch.documents):
                if _FORBIDDEN.search(document.id):
                    raise UserError(
                        f"The document id {document.id!r} has a character that Vespa refuses; index the corpus with "
                        "other ids."
                    )
                part = slice(codes.indptr[i], codes.indptr[i + 1])
                terms = map(str, codes.indices[part].tolist())
                fields: dict[str, Any] = {"id": document.id, "number": batch.first + i}
                if self.source.store_texts:
                    own, others = split_fields(document.metadata, self._fields)
                    texts = {"title": document.title, "text": document.text or ""}
                    if others:
                        texts["metadata"] = json.dumps(others, ensure_ascii=False)
                    clean = {name: _FORBIDDEN.sub(" ", text) for name, text in texts.items()}
                    values = {f"field_{name}": _clean(value) for name, value in own.items()}
                    replaced += clean != texts
                    fields |= clean | values
                fields[FIELD] = dict(zip(terms, codes.data[part].tolist(), strict=True))
                yield {"put": f"id:lsr:{self.collection}::{document.id}", "fields": fields}
        if replaced:
            self.notes.append(f"{replaced:,} with characters that Vespa refuses: those are spaces now.")

    def write(self, folder: Path) -> None:
        """Write ``application/``, a package to deploy, and ``feed-*.jsonl``."""
        schemas = folder / "application" / "schemas"
        schemas.mkdir(parents=True)
        services = _SERVICES.format(name=self.collection)
        (folder / "application" / "services.xml").write_text(services, encoding="utf-8")
        (schemas / f"{self.collection}.sd").write_text(self.schema(), encoding="utf-8")
        with PartWriter(folder, "feed", "jsonl", 1_000_000_000) as parts:
            for operation in self.operations():
                parts.write(json.dumps(operation, ensure_ascii=False))

    def query(self, weights: sparse.csr_array, k: int) -> dict[str, Any]:
        """Return the body of a search."""
        terms, _ = integer_weights(weights, QUERY_SCALE)
        pairs = ",".join(f"[{term},{weight}]" for term, weight in terms)
        yql = f"select id from {self.collection} where {{targetHits: {k}}}wand({FIELD}, [{pairs}])"
        return {
            "yql": yql if terms else f"select id from {self.collection} where false",
            "ranking": FIELD,
            "summary": "ids",
            "hits": k,
        }

    def unit(self, weights: sparse.csr_array) -> float:
        """Return what one unit of Vespa's relevance is worth for a query of one row."""
        return integer_weights(weights, QUERY_SCALE)[1] * self.source.step

    def guide(self) -> str:
        """Return how the files are loaded and how a query is put."""
        return f"""\
## Load

    vespa deploy application
    for part in feed-*.jsonl; do vespa feed "$part"; done

`application/` is for one node; set redundancy and nodes in `services.xml`.

## What is stored

`{FIELD}`, a weighted set: the integer codes (1 to {self.source.levels}) of the stored impacts by term id; a code is worth
`step` = {self.source.step!r}. Fields of the documents that have plain names are attributes, `field_<name>`; the others
stand in `metadata` as JSON. Characters that Vespa refuses in texts are spaces.

## Query

    {{"yql": "select id from {self.collection} where {{targetHits: 10}}wand({FIELD}, [[1012,1000000000],[2871,658536585]])",
     "ranking": "{FIELD}", "summary": "ids", "hits": 10}}

with pairs of term id (`query_terms.jsonl`) and whole query weight: each weight times {QUERY_SCALE:,} / the heaviest,
rounded. Scores are exact dot products of whole numbers; times step times the heaviest weight / {QUERY_SCALE:,} they are
those of the index exported, to float32's last bits. Vespa answers at most 400 hits unless a query profile raises maxHits.
"""


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _FORBIDDEN.sub(" ", value)
    if isinstance(value, list):
        return [
            _FORBIDDEN.sub(" ", item if isinstance(item, str) else json.dumps(item, ensure_ascii=False))
            for item in value
        ]
    return value
