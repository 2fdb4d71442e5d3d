"""Qdrant: impact values as a named sparse vector, term ids as its indices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scipy import sparse

from lsr.export.engine import Engine
from lsr.export.parts import PART_BYTES

FIELD = "impacts"


class Qdrant(Engine):
    """Documents as points; the document's place is the point's id, since Qdrant takes no string there."""

    name = "qdrant"
    title = "Qdrant"

    def about(self) -> dict[str, Any]:
        """Return what the collection's metadata says of the export."""
        index = self.source.index
        return {
            "documents": index.document_count,
            "fingerprint": index.manifest.encoder["fingerprint"],
        }

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield documents as points."""
        for batch in self.source.batches():
            values = self.source.values(batch.codes)
            for i, document in enumerate(batch.documents):
                start, stop = int(values.indptr[i]), int(values.indptr[i + 1])
                payload: dict[str, Any] = {"id": document.id}
                if self.source.store_texts:
                    payload |= {
                        "title": document.title,
                        "text": document.text or "",
                        "metadata": document.metadata,
                    }
                # A point without terms has no vector; it is stored, and no search finds it.
                vector = {
                    "indices": values.indices[start:stop].tolist(),
                    "values": values.data[start:stop].tolist(),
                }
                yield {
                    "id": batch.first + i,
                    "payload": payload,
                    "vector": {FIELD: vector} if start < stop else {},
                }

    def write(self, folder: Path) -> None:
        """Write ``collection.json`` and ``points-*.json``, bodies of REST requests."""
        body = {"vectors": {}, "sparse_vectors": {FIELD: {}}, "metadata": {"lsr": self.about()}}
        (folder / "collection.json").write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
        parts, written, file = 0, 0, None
        try:
            for point in self.points():
                line = json.dumps(point, ensure_ascii=False)
                if file is not None and written + len(line) > PART_BYTES:
                    file.write("\n]}\n")
                    file.close()
                    file = None
                if file is None:
                    file = (folder / f"points-{parts:05}.json").open("w", encoding="utf-8")
                    parts, written = parts + 1, 0
                    file.write('{"points": [\n')
                else:
                    file.write(",\n")
                file.write(line)
                written += len(line) + 2
            if file is not None:
                file.write("\n]}\n")
        finally:
            if file is not None:
                file.close()

    def query(self, weights: sparse.csr_array, k: int) -> dict[str, Any]:
        """Return the body of a REST query."""
        return {
            "query": {"indices": weights.indices.tolist(), "values": weights.data.tolist()},
            "using": FIELD,
            "limit": k,
            "with_payload": ["id"],
        }

    def guide(self) -> str:
        """Return how the files are loaded and how a query is put."""
        return f"""\
## Load

    curl -X PUT "$URL/collections/{self.collection}" -H 'Content-Type: application/json' --data-binary @collection.json
    for part in points-*.json; do
      curl -X PUT "$URL/collections/{self.collection}/points?wait=true" -H 'Content-Type: application/json' \\
        --data-binary "@$part"
    done

or `lsr export INDEX --to qdrant --url URL`.

## What is stored

`{FIELD}`: the stored impact values, float32; indices are term ids. A point's id is the document's place, its
document id stands in the payload. No `modifier` is set: with `"modifier": "idf"` Qdrant would multiply by an IDF of
its own.

## Query

    POST /collections/{self.collection}/points/query
    {{"query": {{"indices": [1012, 2871], "values": [4.1, 2.7]}}, "using": "{FIELD}", "limit": 10, "with_payload": ["id"]}}

with a query's weights by term id (`query_terms.jsonl`). Scores are those of the index exported, up to the order in
which floats are added; Qdrant orders equal scores as it likes.
"""
