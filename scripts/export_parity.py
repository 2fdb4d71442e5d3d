"""How far other engines' rankings agree with this program's exact search over the same index.

    python scripts/export_parity.py INDEX QUERIES.jsonl --work WORK [--queries 300] [--only milvus qdrant]

Exports the index, lets each engine that runs on this machine load and search what was written, and
compares the ten best documents of each query. Engines: Lucene's feature fields (what OpenSearch and
Elasticsearch index) and Anserini through pyserini, CIFF through protocol buffers and bmp, milvus-lite,
Qdrant's local mode; Vespa by arithmetic.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from exports.base import Found, Reader

from lsr.corpus import read_queries
from lsr.corpus.queries import Query
from lsr.export import EngineSearcher, export_index, load_into_engine
from lsr.retrieval import Searcher

K = 10
_NEAR = 1e-6


@dataclass
class Parity:
    """How an engine's ten best compare with ours.

    Attributes:
        same_order: queries with the same documents in the same order.
        same_set: queries with the same documents.
        overlap: mean share of our ten that are among theirs.
        only_ties: queries of another order in which the documents at each differing place have our
            scores within a millionth of each other.
        score_error: the largest relative difference of a document's score, after scaling; None for
            engines whose scores are on a scale of their own.
    """

    engine: str
    queries: int
    same_order: int
    same_set: int
    overlap: float
    only_ties: int
    score_error: float | None
    seconds: float
    note: str


def compare(name: str, ours: dict[str, Found], theirs: dict[str, Found], exact: Any, note: str) -> Parity:
    same_order = same_set = ties = 0
    overlaps, errors = [], []
    for number, mine in ours.items():
        found = theirs.get(number, [])
        a, b = [id_ for id_, _ in mine], [id_ for id_, _ in found]
        same_order += a == b
        same_set += set(a) == set(b)
        if mine:
            overlaps.append(len(set(a) & set(b)) / len(a))
        if a != b and len(a) == len(b):
            scores = exact(number, [*a, *b])
            ties += all(
                abs(scores[x] - scores[y]) <= _NEAR * scores[x] for x, y in zip(a, b, strict=True) if x != y
            )
        known = dict(mine)
        for id_, score in found:
            if id_ in known:
                errors.append(abs(score - known[id_]) / known[id_])
    worst = max(errors, default=0.0)
    return Parity(
        name,
        len(ours),
        same_order,
        same_set,
        float(np.mean(overlaps)),
        ties,
        worst if worst < 0.1 else None,
        0.0,
        note,
    )


class Ours:
    """Exact search, and the exact score of any document."""

    def __init__(self, index: Path, queries: list[Query]) -> None:
        self.searcher = Searcher(index)
        self.weights = self.searcher.query_weights(queries)
        self.rows = {query.id: row for row, query in enumerate(queries)}
        found = self.searcher.search_weights(self.weights, K)
        self.answers: dict[str, Found] = {
            query.id: list(zip(self.searcher.document_ids(hits.documents), hits.scores.tolist(), strict=True))
            for query, hits in zip(queries, found, strict=True)
        }

    def exact(self, number: str, ids: list[str]) -> dict[str, float]:
        row = self.rows[number]
        index = self.searcher.index
        scores = {}
        for id_, document in zip(ids, index.document_numbers(ids).tolist(), strict=True):
            parts = index.explain(self.weights[row : row + 1], document)
            scores[id_] = sum(float(part.weight) * float(part.impact) for part in parts)
        return scores


def readers() -> dict[str, tuple[str, Any]]:
    """Engines that read files: the export each reads and what makes its reader."""

    def lucene(name: str, weights_of: Any) -> Any:
        def make() -> Reader:
            from exports.lucene import LuceneFeatures

            return LuceneFeatures(name, weights_of)

        return make

    def module(name: str, kind: str) -> Any:
        def make() -> Reader:
            import importlib

            reader: Reader = getattr(importlib.import_module(f"exports.{name}"), kind)()
            return reader

        return make

    return {
        "opensearch": (
            "opensearch",
            lucene("opensearch", lambda body: body["query"]["neural_sparse"]["impacts"]["query_tokens"]),
        ),
        "elasticsearch": (
            "elasticsearch",
            lucene("elasticsearch", lambda body: body["query"]["sparse_vector"]["query_vector"]),
        ),
        "anserini": ("anserini", module("lucene", "AnseriniImpacts")),
        "ciff": ("ciff", module("ciff", "CiffBruteForce")),
        "bmp": ("ciff", module("ciff", "Bmp")),
        "vespa": ("vespa", module("vespa", "VespaArithmetic")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("index", type=Path)
    parser.add_argument("queries_file", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--only", nargs="*")
    args = parser.parse_args()
    os.environ.setdefault("OPENAI_API_KEY", "none")
    args.work.mkdir(parents=True, exist_ok=True)
    queries = read_queries(args.queries_file)[: args.queries]
    ours = Ours(args.index, queries)
    known = readers()
    results = []
    for name in args.only or [*known, "milvus", "qdrant"]:
        start = time.perf_counter()
        folder = args.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if name in known:
            form, make = known[name]
            export = folder / "export"
            export_index(args.index, form, export, queries=queries, k=K)
            reader = make()
            (folder / "engine").mkdir()
            reader.load(export, folder / "engine")
            theirs, note, title = reader.answers(export, K), reader.note, reader.name
        else:
            url = str(folder / "store.db")
            load_into_engine(args.index, name, url)
            with EngineSearcher(args.index, name, url) as searcher:
                weights = searcher.query_weights(queries)
                hits = searcher.search_weights(weights, K)
                theirs = {
                    query.id: list(zip(searcher.document_ids(h.documents), h.scores.tolist(), strict=True))
                    for query, h in zip(queries, hits, strict=True)
                }
            title = name
            note = {"milvus": "milvus-lite", "qdrant": "qdrant-client's local mode"}[name]
        parity = compare(title, ours.answers, theirs, ours.exact, note)
        parity.seconds = time.perf_counter() - start
        results.append(parity)
        print(json.dumps(asdict(parity)), file=sys.stderr, flush=True)
    print(
        "| engine | same order | same ten | overlap@10 | other order, equal scores | largest score difference |"
    )
    print("| --- | --: | --: | --: | --: | --: |")
    for r in results:
        error = "own scale" if r.score_error is None else f"{r.score_error:.1e}"
        print(
            f"| {r.engine} ({r.note}) | {r.same_order} of {r.queries} | {r.same_set} | {r.overlap:.4f} | {r.only_ties} "
            f"| {error} |"
        )


if __name__ == "__main__":
    main()
