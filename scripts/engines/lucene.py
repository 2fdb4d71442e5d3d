"""Lucene's impact search, as pyserini's LuceneImpactSearcher runs it: Anserini's classes, called directly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from scipy import sparse
from vectors import Vectors

from engines.base import Engine, weights_by_name
from lsr.eval.systems.java import java_class
from lsr.eval.systems.lucene import WEIGHT_SCALE

_OPTIONS = ("-Xmx6g", "-XX:ActiveProcessorCount=1")


class Lucene(Engine):
    name = "Lucene, impacts"
    settings: ClassVar = {"exact": None}

    def build(self, vectors: Vectors, folder: Path) -> None:
        collection = folder / "collection"
        collection.mkdir()
        number = 0
        for chunk in vectors.chunks():
            with (collection / f"{number:09}.jsonl").open("w") as lines:
                for i in range(chunk.shape[0]):
                    vector = weights_by_name(chunk[i : i + 1])
                    lines.write(json.dumps({"id": str(number + i), "contents": "", "vector": vector}) + "\n")
            number += chunk.shape[0]
        options = f"-collection JsonVectorCollection -input {collection} -index {folder / 'lucene'} "
        options += "-generator DefaultLuceneDocumentGenerator -threads 1 -impact -pretokenized -optimize"
        java_class("io.anserini.index.IndexCollection", *_OPTIONS).main(options.split())
        for path in collection.iterdir():
            path.unlink()

    def open(self, folder: Path, vocabulary: int) -> None:
        searcher = java_class("io.anserini.search.SimpleImpactSearcher", *_OPTIONS)
        self.map, self.integer = java_class("java.util.HashMap"), java_class("java.lang.Integer")
        self.searcher = searcher(str(folder / "lucene"))

    def prepare(self, query: sparse.csr_array) -> Any:
        weights = self.map()
        for term, weight in weights_by_name(query).items():
            weights.put(term, self.integer(max(1, round(weight * WEIGHT_SCALE))))
        return weights

    def search(self, query: Any, k: int, setting: None) -> list[int]:
        return [int(hit.docid) for hit in self.searcher.search(query, k)]
