"""Lucene through pyserini: BM25 as Anserini runs its baselines, with or without RM3, and impact search."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from lsr.errors import UserError
from lsr.eval.rankings import Scored
from lsr.eval.systems.base import BuildTimes, Sizes, Touched, Workspace
from lsr.eval.systems.feedback import Rm3Options
from lsr.eval.systems.java import check_java, java_class, java_output, last_words

if TYPE_CHECKING:
    from lsr.corpus import Document, Query
    from lsr.eval.systems.sparse import SparseEngine, SparseSystem
    from lsr.retrieval import TermScore

_TIMES = "times.json"
_FILE_DOCUMENTS = 100_000
# Lucene takes whole weights. Anserini's encoders scale by 100 before they round.
WEIGHT_SCALE = 100


class LuceneBm25System:
    """Anserini's "flat" setting: title and text in one field, its English analyser, k1 .9, b .4."""

    def __init__(
        self,
        label: str,
        *,
        k1: float = 0.9,
        b: float = 0.4,
        rm3: Rm3Options | None = None,
        spec: str | None = None,
    ) -> None:
        check_java()
        self.label = label
        self.k1, self.b, self.rm3 = k1, b, rm3
        self.spec = spec or ("lucene-bm25+rm3" if rm3 else "lucene-bm25")

    def identity(self) -> dict[str, Any]:
        """Return pyserini's version and the parameters."""
        return {
            "kind": "lucene",
            "pyserini": importlib.metadata.version("pyserini"),
            "k1": self.k1,
            "b": self.b,
            "rm3": asdict(self.rm3) if self.rm3 else None,
        }

    def open(self, workspace: Workspace) -> LuceneEngine:
        """Open the data set's Lucene index, built where the cache has none."""
        key = {
            "pyserini": importlib.metadata.version("pyserini"),
            "documents": workspace.checksums.documents,
            "vectors": True,
        }
        label = f"{workspace.dataset.file_name}.text"

        def make(draft: Path) -> None:
            def record(document: Document) -> dict[str, Any]:
                return {"id": document.id, "contents": document.full_text}

            _build(workspace, draft, record, ["-storeDocvectors"], "JsonCollection", self.label)

        entry = workspace.cache.entry("lucene", label, key, make)
        with java_output():
            searcher = java_class("io.anserini.search.SimpleSearcher")(str(entry / "index"))
            searcher.set_bm25(self.k1, self.b)
            if self.rm3:
                options = (self.rm3.terms, self.rm3.documents, self.rm3.original, False, True)
                searcher.set_rm3(None, *options)
            searcher.search("a query", 1)  # The first one makes Java print what it thinks of Lucene's ways.
        return LuceneEngine(self.label, searcher, entry, int(searcher.get_total_num_docs()))


class LuceneImpactSystem:
    """An encoder of ours searched by Lucene: weights times 100, rounded, as pseudo-words (Anserini's impacts)."""

    def __init__(self, label: str, system: SparseSystem, spec: str) -> None:
        check_java()
        self.label = label
        self.spec = spec
        self._system = system

    def identity(self) -> dict[str, Any]:
        """Return the encoder's identity and pyserini's version."""
        return {
            **self._system.identity(),
            "kind": "lucene impacts",
            "pyserini": importlib.metadata.version("pyserini"),
            "scale": WEIGHT_SCALE,
        }

    def open(self, workspace: Workspace) -> LuceneImpactEngine:
        """Encode the documents, unless the cache has them, and index their weights in Lucene."""
        engine: SparseEngine = self._system.open(workspace)
        if engine.index.manifest.weighting is not None:
            engine.close()
            raise UserError(
                f"{self.spec}: {engine.encoder} has no impacts of its own; name a learned encoder, or take lucene-bm25."
            )
        key = {**self.identity(), "documents": workspace.checksums.documents}
        label = f"{workspace.dataset.file_name}.{key['encoder']}"

        def make(draft: Path) -> None:
            vectors = _vectors(engine)

            def record(document: Document) -> dict[str, Any]:
                return {"id": document.id, "contents": "", "vector": next(vectors)}

            options = ["-impact", "-pretokenized"]
            _build(workspace, draft, record, options, "JsonVectorCollection", self.label)

        entry = workspace.cache.entry("lucene", label, key, make)
        with java_output():
            searcher = java_class("io.anserini.search.SimpleImpactSearcher")(str(entry / "index"))
        return LuceneImpactEngine(engine, searcher, entry)


class LuceneEngine:
    """A Lucene index searched with BM25."""

    encodes_queries = False  # Lucene analyses a query as it searches.

    def __init__(self, name: str, searcher: Any, entry: Path, documents: int) -> None:
        self.encoder = name
        self._searcher = searcher
        self.document_count = documents
        self.index_bytes: int | None = _size(entry / "index")
        self.times = BuildTimes(**json.loads((entry / _TIMES).read_text(encoding="utf-8")))
        self.notes: tuple[str, ...] = ()

    def encode(self, queries: Sequence[Query]) -> list[str]:
        """Return the queries' texts."""
        return [query.text for query in queries]

    def search(self, encoded: list[str], k: int, threads: int) -> list[Scored]:
        """Return the k best documents of each query; equal scores by the lesser id, as Anserini has it."""
        return _search(self._searcher, encoded, k, threads)

    def sizes(self, encoded: list[str]) -> Sizes:
        """Return nothing: Lucene's analysis is its own."""
        return Sizes()

    def touched(self, encoded: list[str], k: int) -> Touched:
        """Return the algorithm; Lucene does not say what it reads."""
        return Touched(algorithm="Lucene")

    def explain(self, query: Query, document_id: str) -> list[TermScore] | None:
        """Return None."""
        return None

    def close(self) -> None:
        """Close the index."""
        self._searcher.close()


class LuceneImpactEngine:
    """A Lucene index of impacts, and the encoder's query side."""

    encodes_queries = True

    def __init__(self, engine: SparseEngine, searcher: Any, entry: Path) -> None:
        self._engine = engine
        self._searcher = searcher
        self.encoder = engine.encoder
        self.document_count = engine.document_count
        self.index_bytes: int | None = _size(entry / "index")
        self.times = BuildTimes(
            json.loads((entry / _TIMES).read_text(encoding="utf-8"))["index_seconds"],
            engine.times.encode_seconds,
        )
        self.notes = engine.notes
        self._map, self._integer = java_class("java.util.HashMap"), java_class("java.lang.Integer")

    def encode(self, queries: Sequence[Query]) -> sparse.csr_array:
        """Return query weights, shape (queries, vocabulary)."""
        return self._engine.encode(queries)

    def search(self, encoded: sparse.csr_array, k: int, threads: int) -> list[Scored]:
        """Return the k best documents of each query."""
        queries = []
        for row in range(encoded.shape[0]):
            part = slice(encoded.indptr[row], encoded.indptr[row + 1])
            weights = self._map()
            for term, weight in zip(encoded.indices[part].tolist(), encoded.data[part].tolist(), strict=True):
                weights.put(str(term), self._integer(max(1, round(weight * WEIGHT_SCALE))))
            queries.append(weights)
        return _search(self._searcher, queries, k, threads)

    def sizes(self, encoded: sparse.csr_array) -> Sizes:
        """Return terms a document and a query, and FLOPS."""
        return self._engine.sizes(encoded)

    def touched(self, encoded: sparse.csr_array, k: int) -> Touched:
        """Return the algorithm; Lucene does not say what it reads."""
        return Touched(algorithm="Lucene")

    def explain(self, query: Query, document_id: str) -> list[TermScore] | None:
        """Return what each term earned a document in our index: the same, but for rounding."""
        return self._engine.explain(query, document_id)

    def close(self) -> None:
        """Close both indexes."""
        self._searcher.close()
        self._engine.close()


def _build(
    workspace: Workspace,
    draft: Path,
    record: Callable[[Document], dict[str, Any]],
    options: list[str],
    collection: str,
    label: str,
) -> None:
    """Write the documents as JSON Lines and have Anserini index them into ``draft/index``."""
    from lsr.corpus import ReadReport

    dataset = workspace.dataset
    folder = draft / "collection"
    shutil.rmtree(draft, ignore_errors=True)  # What an interrupted run left is of no use here.
    folder.mkdir(parents=True)
    reading = ReadReport()
    start = time.perf_counter()
    with workspace.progress(
        f"Indexing {dataset.name} with {label}",
        total=dataset.document_count,
        fraction=lambda: reading.fraction,
    ) as shown:
        file = None
        for number, document in enumerate(dataset.documents(reading)):
            if number % _FILE_DOCUMENTS == 0:
                if file:
                    file.close()
                file = (folder / f"{number:09}.jsonl").open("w", encoding="utf-8")
            assert file is not None
            file.write(json.dumps(record(document)) + "\n")
            shown.advance()
        if file:
            file.close()
    arguments = ["-collection", collection, "-input", str(folder), "-index", str(draft / "index")]
    arguments += ["-generator", "DefaultLuceneDocumentGenerator", "-threads", str(workspace.threads)]
    with java_output() as said:
        java_class("io.anserini.index.IndexCollection").main([*arguments, *options, "-optimize"])
        words = last_words(said)
    if not (draft / "index").is_dir():
        raise UserError(f"Lucene did not index {dataset.name}; the last that it said is: {words}")
    shutil.rmtree(folder)
    times = {"index_seconds": time.perf_counter() - start, "encode_seconds": None}
    (draft / _TIMES).write_text(json.dumps(times), encoding="utf-8")


def _vectors(engine: SparseEngine) -> Iterator[dict[str, int]]:
    """Yield each document's weights as Anserini takes them: whole numbers by the term's number."""
    weights = engine.document_weights()
    for start, stop in zip(weights.indptr[:-1].tolist(), weights.indptr[1:].tolist(), strict=True):
        terms, values = weights.indices[start:stop].tolist(), weights.data[start:stop].tolist()
        yield {
            str(term): max(1, round(value * WEIGHT_SCALE)) for term, value in zip(terms, values, strict=True)
        }


def _search(searcher: Any, queries: list[Any], k: int, threads: int) -> list[Scored]:
    """Search for queries one by one, or for several on as many threads."""
    if threads <= 1 or len(queries) <= 1:
        return [_scored(searcher.search(query, k)) for query in queries]
    array_list = java_class("java.util.ArrayList")
    names, texts = array_list(), array_list()
    for number, query in enumerate(queries):
        names.add(str(number))
        texts.add(query)
    found = searcher.batch_search(texts, names, k, threads)
    return [_scored(found.get(str(number))) for number in range(len(queries))]


def _scored(hits: Any) -> Scored:
    pairs = [(hit.docid, hit.score) for hit in hits or ()]
    return [name for name, _ in pairs], np.array([score for _, score in pairs], np.float32)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
