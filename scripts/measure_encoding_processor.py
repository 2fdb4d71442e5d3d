"""Encoding real documents on a processor: each lever's speed, and what it does to vectors and rankings.

    python scripts/measure_encoding_processor.py MODEL --data COLLECTIONS --names cranfield scifact

MODEL is an inference-free BERT checkpoint. Its forms take turns on the same documents, so that a
machine with other work slows all of them: sentence-transformers' SparseEncoder.encode_document on the
model saved in its form, our float32, our int8, int8 for the 128 heaviest terms, and int8 that looks for
expansions among the terms alone that the ``--rows-texts`` last documents of the collections keep (left out where the
model has such a choice already).
Rates are medians over rounds; `times` are medians of each round's ratio to SparseEncoder. Vectors
are compared with float32's, cut to as many terms: cosine, share of the ten heaviest terms that are the same, terms a
document, and nDCG@10 (training IDF) over the documents that were encoded, which hold all that is
judged relevant to the queries used. Two processor threads unless ``--threads`` says otherwise.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse

from lsr.encoders import EncoderOptions
from lsr.encoders.learned import LearnedEncoder
from lsr.encoders.packing import pack_encoder, rows_in_use
from lsr.encoders.sparse_rows import keep_heaviest

Qrels = dict[str, dict[str, int]]


def subset(folder: Path, documents: int) -> tuple[list[str], list[str], dict[str, str], Qrels, list[str]]:
    """Return ids and texts of `documents` documents, queries whose relevant ones are all among them,
    their judgements, and the texts left over."""
    with gzip.open(folder / "corpus.jsonl.gz", "rt") as file:
        texts = {r["_id"]: f"{r.get('title', '')} {r['text']}".strip() for r in map(json.loads, file)}
    qrels: Qrels = {}
    with (folder / "qrels" / "test.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if int(row["score"]) > 0 and row["corpus-id"] in texts:
                qrels.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    chosen: dict[str, None] = {}
    used: Qrels = {}
    for query, judged in qrels.items():
        if len(chosen.keys() | judged.keys()) <= documents // 2:
            chosen |= dict.fromkeys(judged)
            used[query] = judged
    rest = [name for name in texts if name not in chosen]
    chosen |= dict.fromkeys(rest[: documents - len(chosen)])
    with (folder / "queries.jsonl").open() as file:
        queries = {r["_id"]: r["text"] for r in map(json.loads, file) if r["_id"] in used}
    ids = sorted(chosen, key=list(texts).index)
    return ids, [texts[i] for i in ids], queries, used, [texts[i] for i in rest[documents - len(used) :]]


def ndcg(scores: Any, ids: list[str], queries: list[str], qrels: Qrels) -> float:
    """Return the mean nDCG@10 of `scores`, shape (queries, documents)."""
    discounts = 1 / np.log2(np.arange(2, 12))
    found = []
    for row, query in zip(scores, queries, strict=True):
        best = np.lexsort((np.arange(len(ids)), -row))[:10]
        gains = np.array([qrels[query].get(ids[i], 0) if row[i] > 0 else 0 for i in best])
        ideal = np.zeros(10)
        ideal[: min(10, len(qrels[query]))] = sorted(qrels[query].values(), reverse=True)[:10]
        found.append(gains @ discounts / (ideal @ discounts))
    return float(np.mean(found))


def nearness(got: Any, expected: Any) -> tuple[float, float, float]:
    """Return least and mean cosine of rows, and the share of the ten heaviest terms in common."""
    norms = np.sqrt(got.multiply(got).sum(1) * expected.multiply(expected).sum(1))
    cosine = np.asarray(got.multiply(expected).sum(1)) / norms
    a, b = keep_heaviest(got, 10), keep_heaviest(expected, 10)
    common = [np.intersect1d(a[[i]].indices, b[[i]].indices).size / 10 for i in range(a.shape[0])]
    return float(cosine.min()), float(cosine.mean()), float(np.mean(common))


def stacked_to(batches: list[Any], width: int) -> sparse.csr_array:
    """Return batches under each other; vocabularies that grow make later ones wider."""
    for batch in batches:
        batch.resize(batch.shape[0], width)
    return sparse.csr_array(sparse.vstack(batches, format="csr"))


class Vocabulary:
    """What queries need to know of an index whose vocabulary is `terms`."""

    def __init__(self, terms: Sequence[str]) -> None:
        self.vocabulary_size = len(terms)
        self._ids = {term: i for i, term in enumerate(terms)}

    def term_ids(self, terms: Sequence[str]) -> Any:
        return np.array([self._ids.get(term, -1) for term in terms], np.int64)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--names", nargs="+", default=["cranfield", "scifact"])
    parser.add_argument("--documents", type=int, default=400, help="of each collection (default: 400)")
    parser.add_argument("--rows-texts", type=int, default=400)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--round", type=int, default=32, help="documents that a form encodes in a turn")
    parser.add_argument(
        "--cut-before",
        action="store_true",
        help="time passages of --length pieces, not the cutting of longer texts",
    )
    parser.add_argument("--without-peer", action="store_true", help="leave sentence-transformers out")
    asked = parser.parse_args()
    parts = {name: subset(asked.data / name, asked.documents) for name in asked.names}
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as scratch:
        forms = make_forms(asked, Path(scratch), [text for p in parts.values() for text in p[4]])
        print(
            f"PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {asked.threads} threads\n"
        )
        for name, (ids, texts, *rest) in parts.items():
            if asked.cut_before:
                texts = cut_texts(forms["float32"][1], texts, asked.length)
            report(name, (ids, texts, *rest), forms, asked)


def cut_texts(encoder: LearnedEncoder | None, texts: list[str], length: int) -> list[str]:
    """Return the part of each text that is read, [CLS] and [SEP] among its `length` pieces."""
    assert encoder is not None
    encoder.tokenizer.no_truncation()
    found = encoder.tokenizer.encode_batch(texts, add_special_tokens=False)
    return [
        text if len(encoding.ids) <= length - 2 else text[: encoding.offsets[length - 3][1]]
        for text, encoding in zip(texts, found, strict=True)
    ]


def make_forms(
    asked: argparse.Namespace, scratch: Path, others: list[str]
) -> dict[str, tuple[Callable[[list[str]], Any], LearnedEncoder | None]]:
    """Return what encodes documents, by name."""

    def load(source: str, **settings: Any) -> LearnedEncoder:
        options = EncoderOptions(
            max_length=asked.length, device="cpu", threads=asked.threads, idf="training", settings=settings
        )
        return LearnedEncoder.load(source, options)

    plain = load(asked.model, precision="float32")
    forms: dict[str, tuple[Callable[[list[str]], Any], LearnedEncoder | None]] = {}
    if not asked.without_peer:
        from sentence_transformers import SparseEncoder

        plain.save(scratch / "saved")
        theirs: Any = SparseEncoder(str(scratch / "saved"), device="cpu")
        forms["SparseEncoder"] = (
            lambda texts: theirs.encode_document(texts, batch_size=32, show_progress_bar=False),
            None,
        )
    forms["float32"] = plain.encode_documents, plain
    whole = load(asked.model, precision="int8")
    forms["int8"] = whole.encode_documents, whole
    heavy = load(asked.model, precision="int8", max_terms=128)
    forms["int8, 128 terms"] = heavy.encode_documents, heavy
    if (Path(asked.model) / "head_rows.npy").is_file():
        return forms
    # The rows are found by the int8 form itself: the fastest whole one.
    rows = rows_in_use(heavy, others[:: max(1, len(others) // asked.rows_texts)], 1)
    pack_encoder(plain, scratch / "rows", head_rows=rows)
    few = load(str(scratch / "rows"), precision="int8", max_terms=128)
    forms[f"packed, int8, 128 terms, {rows.size:,} rows"] = few.encode_documents, few
    return forms


def report(name: str, part: Any, forms: dict[str, Any], asked: argparse.Namespace) -> None:
    """Print the table of one collection."""
    ids, texts, queries, qrels, _ = part
    rates: dict[str, list[float]] = {form: [] for form in forms}
    busy: dict[str, float] = dict.fromkeys(forms, 0.0)
    rows: dict[str, list[Any]] = {form: [] for form in forms}
    for encode, _ in forms.values():
        encode(texts[:4])
    for first in range(0, len(texts), asked.round):
        batch = texts[first : first + asked.round]
        for form, (encode, ours) in forms.items():
            if ours is None and first >= 4 * asked.round:
                # Its vectors are not needed, and it is slow.
                continue
            start, cpu = time.perf_counter(), time.process_time()
            found = encode(batch)
            rates[form].append(len(batch) / (time.perf_counter() - start))
            busy[form] += time.process_time() - cpu
            if ours is not None:
                rows[form].append(found)
    width = max(batch.shape[1] for found in rows.values() for batch in found)
    weights = {form: stacked_to(found, width) for form, found in rows.items() if found}
    print(f"## {name}: {len(texts)} documents, {len(queries)} queries\n")
    print(
        "| form | documents a second | processor ms a document | times | cosine, least and mean "
        "| ten heaviest | terms | nDCG@10 |"
    )
    print("| --- | --: | --: | --: | --: | --: | --: | --: |")
    base = "SparseEncoder" if "SparseEncoder" in forms else "float32"
    for form, (_, ours) in forms.items():
        turns = len(rates[form])
        ratio = np.median([a / b for a, b in zip(rates[form], rates[base], strict=False)])
        milliseconds = 1000 * busy[form] / min(len(texts), turns * asked.round)
        line = f"| {form} | {np.median(rates[form]):.1f} | {milliseconds:.0f} | {ratio:.2f} |"
        if ours is None:
            print(line + " | | | |")
            continue
        expected = keep_heaviest(weights["float32"], ours.settings["max_terms"])
        least, mean, common = nearness(weights[form], expected)
        side: Any = ours.query_side
        encoded = side.encode_queries(list(queries.values()), Vocabulary(ours.vocabulary))
        encoded.resize(encoded.shape[0], width)
        scores = (encoded @ weights[form].T).toarray()
        value = ndcg(scores, ids, list(queries), qrels)
        print(
            f"{line} {least:.4f}, {mean:.4f} | {common:.3f} | {weights[form].nnz / len(texts):.0f} | {value:.4f} |",
            flush=True,
        )
    print()


if __name__ == "__main__":
    main()
