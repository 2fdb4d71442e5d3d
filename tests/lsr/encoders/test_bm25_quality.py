from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from lsr.corpus import read_corpus, read_queries
from lsr.encoders.bm25 import Bm25Encoder
from lsr.encoders.bm25_weights import inverse_document_frequency
from lsr.encoders.options import EncoderOptions

SHARED = Path(os.environ.get("LSR_SHARED", Path(__file__).resolve().parents[3].parent / "shared"))
SCIFACT = SHARED / "data" / "collections" / "scifact"


def discounted(grades: list[int]) -> float:
    return sum(grade / math.log2(rank + 2) for rank, grade in enumerate(grades))


@pytest.mark.skipif(not SCIFACT.is_dir(), reason="the shared SciFact collection is not beside the checkout")
def test_scifact_is_where_published_figures_are() -> None:
    """BEIR gives nDCG@10 of .665 (Elasticsearch, fields) to .679 (Anserini) for BM25 on SciFact."""
    documents = list(read_corpus([SCIFACT]))
    bm25 = Bm25Encoder.from_options(EncoderOptions())
    counts = bm25.encode_documents([document.full_text for document in documents])
    judged: dict[str, dict[str, int]] = {}
    for line in (SCIFACT / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        query_id, document_id, grade = line.split("\t")
        judged.setdefault(query_id, {})[document_id] = int(grade)
    queries = [query for query in read_queries(SCIFACT / "queries.jsonl") if query.id in judged]
    plain = bm25.encode_queries([query.text for query in queries])
    idf = inverse_document_frequency(np.bincount(counts.indices, minlength=counts.shape[1]), len(documents))
    scores = sparse.csr_array(plain * idf[None, :]) @ bm25.weigh(counts).T

    gains = []
    for query, row in zip(queries, scores.toarray(), strict=True):
        grades = judged[query.id]
        ranking = np.argsort(-row, kind="stable")[:10]
        found = [grades.get(documents[number].id, 0) for number in ranking]
        gains.append(discounted(found) / discounted(sorted(grades.values(), reverse=True)[:10]))
    assert len(gains) == 300
    assert 0.66 <= np.mean(gains) <= 0.69
