"""How good a ranking is: nDCG@10 of test collections and MRR@10 of held-out pairs, on the device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .dense import Texts
from .inputs import Ragged
from .lexical import Lexical
from .student import Student, bags


@dataclass
class Collection:
    """Documents and queries with graded judgements, shape (judged, 3): query, document, grade."""

    name: str
    documents: Texts
    queries: Texts
    judged: torch.Tensor
    lexical: Lexical

    @classmethod
    def load(cls, folder: Path, name: str, key: str, stem_count: int, device: torch.device) -> Collection:
        return cls(
            name,
            Texts(Ragged.load(folder, f"{name}.documents.{key}"), device),
            Texts(Ragged.load(folder, f"{name}.queries.{key}"), device),
            torch.from_numpy(np.load(folder / f"{name}.qrels.npy")).to(device),
            Lexical(folder, name, stem_count, device),
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


def own_pieces_idf(texts: Texts, vocabulary: int, special: list[int]) -> torch.Tensor:
    """Return ln(1 + (N - df + .5) / (df + .5)) over the texts' own pieces, shape (vocabulary,)."""
    rows = torch.repeat_interleave(torch.arange(len(texts), device=texts.values.device), texts.lengths)
    pairs = torch.unique(rows * vocabulary + texts.values.long())
    frequency = torch.bincount(pairs % vocabulary, minlength=vocabulary).double()
    idf = torch.log1p((len(texts) - frequency + 0.5) / (frequency + 0.5)).float()
    idf[special] = 0
    return idf


@torch.inference_mode()
def encode(student: Student, texts: Texts, limit: int | None = None, keep: int | None = None) -> torch.Tensor:
    """Return all documents' term weights, float16, shape (documents, vocabulary)."""
    parts, order = [], torch.argsort(texts.lengths)
    for rows in order.split(256):
        with torch.autocast("cuda", torch.bfloat16, enabled=texts.values.is_cuda):
            weights = student.documents(texts, rows, 1, limit)
        if keep:
            weights = prune(weights, keep)
        parts.append(weights.half())
    return torch.cat(parts)[torch.argsort(order)]


def prune(weights: torch.Tensor, keep: int, importance: torch.Tensor | None = None) -> torch.Tensor:
    """Keep the `keep` heaviest terms of each row (by weight times `importance`), the others become 0."""
    keys = weights if importance is None else weights * importance
    least = keys.topk(keep, dim=1).values[:, -1:]
    return weights.masked_fill(keys < least, 0)


@torch.inference_mode()
def judge(
    student: Student, collection: Collection, training_idf: torch.Tensor, special: list[int]
) -> dict[str, Any]:
    """Return nDCG@10 with both IDFs, unpruned and pruned, and terms a document."""
    weights = encode(student, collection.documents)
    vocabulary = weights.shape[1]
    own = own_pieces_idf(collection.documents, vocabulary, special)
    every = torch.arange(len(collection.queries), device=weights.device)
    result: dict[str, Any] = {"terms": float((weights > 0).sum(1).float().mean())}
    factors = student.query_weights(torch.ones_like(own))
    forms = {
        "": weights,
        "@128": torch.cat([prune(part, 128) for part in weights.split(1024)]),
        "@128w": torch.cat([prune(part, 128, training_idf.half()) for part in weights.split(1024)]),
    }
    for form, half in forms.items():
        documents = half.float()
        for name, table in (
            ("train", training_idf * factors),
            ("corpus", own * factors),
            ("corpus1", own),
        ):
            if form and name == "corpus1":
                continue
            scores = torch.cat(
                [bags(collection.queries, rows, table, special) @ documents.T for rows in every.split(1024)]
            )
            result[name + form] = round(ndcg(scores, collection.judged), 4)
    return result


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
