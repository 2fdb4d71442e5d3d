"""A real inference-free model: the figures that its makers measured."""

from __future__ import annotations

import csv
import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from lsr.encoders import EncoderOptions, load_encoder

SHARED = Path(os.environ.get("LSR_SHARED") or Path(__file__).resolve().parents[3].parent / "shared")
MODEL = SHARED / "models" / "interim"
CRANFIELD = SHARED / "data" / "collections" / "cranfield"
pytestmark = pytest.mark.skipif(
    not (MODEL.is_dir() and CRANFIELD.is_dir()), reason=f"no interim model or test collections in {SHARED}"
)


def cranfield_texts():
    with gzip.open(CRANFIELD / "corpus.jsonl.gz", "rt") as file:
        records = [json.loads(line) for line in file]
    return [r["_id"] for r in records], [f"{r['title']} {r['text']}".strip() for r in records]


def test_documents_equal_plain_transformers():
    texts = cranfield_texts()[1][:6]
    encoder = load_encoder(MODEL, EncoderOptions(max_length=256, device="cpu"))
    got = encoder.encode_documents(texts).toarray()
    model = AutoModelForMaskedLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    batch = tokenizer(texts, truncation=True, max_length=256, padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**batch).logits.masked_fill(batch["attention_mask"][:, :, None] == 0, -1e9)
        expected = torch.log1p(torch.log1p(torch.relu(logits.amax(1))))
        expected[:, tokenizer.all_special_ids] = 0
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-5)


class Statistics:
    vocabulary_size = 30522

    def __init__(self, encoder, count):
        self.document_count = count
        self.text_document_frequencies = encoder.text_frequencies.__getitem__
        self.document_frequencies = self.text_document_frequencies


def ndcg_at_10(scores, ids, relevant):
    best = np.lexsort((np.arange(len(ids)), -scores))[:10]
    discounts = 1 / np.log2(np.arange(2, 12))
    gains = np.array([relevant.get(ids[i], 0) if scores[i] > 0 else 0 for i in best])
    ideal = np.zeros(10)
    ideal[: min(10, len(relevant))] = sorted(relevant.values(), reverse=True)[:10]
    return float(gains @ discounts[: gains.size] / (ideal @ discounts)) if ideal.any() else 0.0


@pytest.mark.slow
def test_cranfield_figures():
    ids, texts = cranfield_texts()
    qrels: dict[str, dict[str, int]] = {}
    with (CRANFIELD / "qrels" / "test.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            qrels.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    queries = [json.loads(line) for line in (CRANFIELD / "queries.jsonl").open()]
    queries = [query for query in queries if query["_id"] in qrels]
    documents = load_encoder(MODEL, EncoderOptions(max_length=256))
    weights = documents.encode_documents(texts)
    assert weights.nnz / len(texts) == pytest.approx(318, abs=1)
    for idf, figure in (("training", 0.516), ("corpus", 0.518)):
        encoder = load_encoder(MODEL, EncoderOptions(max_length=256, idf=idf))
        encoded = encoder.encode_queries(
            [query["text"] for query in queries], Statistics(documents, len(ids))
        )
        scores = (encoded @ weights.T).toarray()
        measured = [ndcg_at_10(row, ids, qrels[q["_id"]]) for row, q in zip(scores, queries, strict=True)]
        assert np.mean(measured) == pytest.approx(figure, abs=0.003)
