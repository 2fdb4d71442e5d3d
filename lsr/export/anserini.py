"""Anserini's JSON vectors: impact codes by term, for Lucene's impact search."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy import sparse

from lsr.export.engine import Engine
from lsr.export.names import engine_names, without_spaces
from lsr.export.parts import PartWriter
from lsr.export.source import ExportSource, integer_weights

# Anserini writes a term as often as it weighs, so that 16 bits would make giants of documents.
_LEVELS = 255
QUERY_SCALE = 255


class Anserini(Engine):
    """``JsonVectorCollection``; weights are whole numbers up to 255."""

    name = "anserini"
    title = "Anserini"

    def __init__(self, source: ExportSource, collection: str) -> None:
        super().__init__(source, collection)
        self.names = engine_names(source.terms, without_spaces)
        self._divisor = -(-source.levels // _LEVELS)  # 257 for a grid of 16 bits
        if self._divisor > 1:
            self.notes.append(
                "impacts of 16 bits are rounded to 8 here: Anserini repeats a term as often as it weighs."
            )

    def write(self, folder: Path) -> None:
        """Write ``corpus/vectors-*.jsonl``."""
        corpus = folder / "corpus"
        corpus.mkdir()
        with PartWriter(corpus, "vectors", "jsonl", 256_000_000) as parts:
            for batch in self.source.batches():
                codes = batch.codes
                values = codes.data.astype(np.int64)
                if self._divisor > 1:
                    values = np.maximum(1, np.rint(values / self._divisor)).astype(np.int64)
                for i, document in enumerate(batch.documents):
                    part = slice(codes.indptr[i], codes.indptr[i + 1])
                    terms = map(self.names.__getitem__, codes.indices[part].tolist())
                    vector = dict(zip(terms, values[part].tolist(), strict=True))
                    contents = f"{document.title} {document.text or ''}".strip()
                    line = {"id": document.id, "contents": contents, "vector": vector}
                    parts.write(json.dumps(line, ensure_ascii=False))

    def query(self, weights: sparse.csr_array, k: int) -> str:
        """Return a pre-tokenized topic: each term as often as it weighs."""
        terms, _ = integer_weights(weights, QUERY_SCALE)
        return " ".join(f"{self.names[term]} " * weight for term, weight in terms).replace("  ", " ").strip()

    def guide(self) -> str:
        """Return how the files are loaded and how a query is put."""
        return f"""\
## Load

    python -m pyserini.index.lucene --collection JsonVectorCollection --input corpus --index lucene \\
      --generator DefaultLuceneDocumentGenerator --threads 2 --impact --pretokenized --optimize

## What is stored

`vector`: the stored impacts as integer codes, 1 to 255, which Anserini's impact index keeps as they are; a code is
worth {self.source.step * self._divisor!r}. White space inside a term is written `_`.

## Query

Whole query weights: each weight times {QUERY_SCALE} / the heaviest, rounded. Anserini's topics repeat a term as often as it
weighs (`queries.tsv`, where --queries was given):

    python -m pyserini.search.lucene --index lucene --topics queries.tsv --output run.txt --impact --pretokenized

From Python, `LuceneImpactSearcher` and Anserini's `SimpleImpactSearcher` take weights by term. Rounded query weights are
what makes rankings differ from the index exported.
"""
