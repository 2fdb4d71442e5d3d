"""How good a ranking is: nDCG@10 of test collections and MRR@10 of held-out pairs, on the device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .dense import Texts
from .inputs import Ragged
from .lexical import Words
from .statistics import own_idf
from .student import Student, Vocabulary, asked_terms

# How much of BM25's saturated term frequency a document's own words get on top.
LEXICAL = 0.7
_LEXICAL_WEIGHTS = (0, 0.5, LEXICAL, 1.0)


@dataclass
class Collection:
    """Documents and queries with graded judgements, shape (judged, 3): query, document, grade."""

    name: str
    documents: Texts
    queries: Texts
    judged: torch.Tensor
    words: Words

    @classmethod
    def load(cls, folder: Path, name: str, device: torch.device) -> Collection:
        return cls(
            name,
            Texts(Ragged.load(folder, f"{name}.documents.bert"), device),
            Texts(Ragged.load(folder, f"{name}.queries.bert"), device),
            torch.from_numpy(np.load(folder / f"{name}.qrels.npy")).to(device),
            Words(folder, name, device),
        )


def ndcg(scores: torch.Tensor, judged: torch.Tensor, k: int = 10) -> float:
    """Return the mean nDCG@k (gain = grade) of score rows, shape (queries, documents)."""
    grades = torch.zeros_like(scores)
    grades[judged[:, 0].long(), judged[:, 1].long()] = judged[:, 2].clamp(min=0).float()
    discounts = 1 / torch.log2(torch.arange(k, device=scores.device) + 2.0)
    top = grades.gather(1, scores.topk(k, dim=1).indices)
    ideal = grades.topk(k, dim=1).values
    value = (top * discounts).sum(1) / (ideal * discounts).sum(1).clamp(min=1e-9)
    return float(value[ideal.sum(1) > 0].mean())


def prune(weights: torch.Tensor, limit: int, others: torch.Tensor | None = None) -> torch.Tensor:
    """Keep the `limit` heaviest terms of each row, less the `others` (rows,) that it has elsewhere.

    The rest become 0.
    """
    best = weights.topk(limit, dim=1).values
    if others is None:
        least = best[:, -1:]
    else:
        least = best.gather(1, (limit - others).clamp(min=1).unsqueeze(1) - 1)
    return weights.masked_fill(weights < least, 0)


@torch.inference_mode()
def encode(student: Student, texts: Texts, limit: int = 256) -> torch.Tensor:
    """Return all documents' learned term weights, float16, shape (documents, vocabulary)."""
    parts, order = [], torch.argsort(texts.lengths)
    for rows in order.split(512):
        with torch.autocast(texts.values.device.type, torch.bfloat16, enabled=texts.values.is_cuda):
            parts.append(student.documents(texts, rows, 1, limit).half())
    return torch.cat(parts)[torch.argsort(order)]


@torch.inference_mode()
def judge(
    student: Student, collection: Collection, trained: tuple[torch.Tensor, torch.Tensor]
) -> dict[str, Any]:
    """Return nDCG@10 with both IDFs and several lexical weights, all terms or the 128 heaviest.

    `trained` are the training IDFs of the vocabulary and of the stems.
    """
    known, words, device = student.vocabulary, collection.words, collection.documents.values.device
    learned = encode(student, collection.documents)
    rows = torch.arange(len(learned), device=device)
    own, _ = words.own_terms(rows, known.size)
    ids = words.fixed.ids.long()
    apart = (ids >= 0) & (words.term_of_stem[ids.clamp(min=0)] < 0)
    stems = torch.unique(ids[apart])
    column = torch.full_like(words.term_of_stem, len(stems))
    column[stems] = torch.arange(len(stems), device=device)
    others = torch.zeros(len(rows), len(stems) + 1, dtype=torch.float16, device=device)
    values = words.fixed.weights.masked_fill(~apart, 0)
    others.scatter_add_(1, torch.where(apart, column[ids.clamp(min=0)], len(stems)), values)
    others = others[:, :-1]
    tables = {
        "corpus": torch.cat([own_idf(collection.documents, words, known), words.idf()[0][stems]]),
        "training": torch.cat([trained[0], trained[1][stems]]),
    }
    result: dict[str, Any] = {"learned terms": round(float((learned > 0).sum(1).float().mean()), 1)}
    for weight in _LEXICAL_WEIGHTS:
        whole = torch.cat([learned + (weight * own).half(), weight * others], 1)
        for form in ("", "@128"):
            documents = whole
            if form:
                documents = torch.cat([prune(part, 128) for part in whole.split(1024)])
                if weight == LEXICAL:
                    result["terms@128"] = round(float((documents > 0).sum(1).float().mean()), 1)
            documents = documents.float()
            for name, table in tables.items():
                if name == "training" and weight not in (0, LEXICAL):
                    continue
                scores = _scores(collection, known, documents, table, column, len(stems))
                result[f"{name} {weight}{form}"] = round(ndcg(scores, collection.judged), 4)
    return result


def _scores(
    collection: Collection,
    known: Vocabulary,
    documents: torch.Tensor,
    table: torch.Tensor,
    column: torch.Tensor,
    stems: int,
) -> torch.Tensor:
    """Return scores of all queries; `column` is the place of a stem behind the vocabulary, `stems` for none."""
    scores = []
    for asked in torch.arange(len(collection.queries), device=documents.device).split(512):
        here = collection.words.queries.ids[asked].long()
        found = torch.where(here >= 0, column[here.clamp(min=0)], stems)
        more = torch.zeros(len(asked), stems + 1, device=documents.device)
        more.scatter_(1, found, 1.0)
        terms = torch.cat([asked_terms(collection.queries, collection.words, asked, known), more[:, :-1]], 1)
        scores.append((terms * table) @ documents.T)
    return torch.cat(scores)


@dataclass
class HeldOut:
    """Held-out pairs of some sources: each source's queries against documents of that source."""

    name: str
    documents: torch.Tensor
    queries: torch.Tensor
    positives: torch.Tensor

    def reciprocal_rank(self, scores: torch.Tensor) -> float:
        """Return the mean reciprocal rank at 10 of score rows, shape (queries, documents)."""
        own = scores.gather(1, self.positives.unsqueeze(1))
        rank = (scores > own).sum(1) + 1
        return float(torch.where(rank <= 10, 1 / rank, 0.0).mean())
