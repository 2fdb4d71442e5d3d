"""The joint ranking of several teachers: a weighted sum of their scores, as logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from .lexical import Words


class Teachers:
    """BM25 over stemmed words and dense embeddings computed before; `weights` of each, by name."""

    def __init__(self, folder: Path, words: Words, device: torch.device) -> None:
        self.words = words
        self.weights: dict[str, float] = {}
        self.dense: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        for path in sorted(folder.glob("train.documents.*.dense.npy")):
            name = path.name.split(".")[2]
            both = [
                torch.from_numpy(np.load(folder / f"train.{side}.{name}.dense.npy")).to(device)
                for side in ("documents", "queries")
            ]
            self.dense[name] = (both[0], both[1])

    def parts(
        self, queries: torch.Tensor, documents: torch.Tensor, tables: torch.Tensor, table_of: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return each teacher's scores, float32, shape (queries, documents)."""
        parts = {"bm25": self.words.scores(queries, documents, tables, table_of)}
        for name, (of_documents, of_queries) in self.dense.items():
            parts[name] = (of_queries[queries] @ of_documents[documents].T).float()
        return parts

    def joint(self, parts: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the joint logits."""
        total = torch.zeros_like(parts["bm25"])
        for name, part in parts.items():
            total += part * self.weights.get(name, 0.0)
        return total

    def fit(self, draw: Callable[[], dict[str, torch.Tensor]], steps: int = 300) -> float:
        """Find the weights under which the positives are most likely (softmax regression).

        `draw` returns parts whose query i belongs to document i. Returns the last loss.
        """
        names = ["bm25", *self.dense]
        first = next(iter(draw().values()))
        logs = torch.tensor([-1.5] + [2.5] * len(self.dense), device=first.device, requires_grad=True)
        optimiser = torch.optim.Adam([logs], lr=0.05)
        last = 0.0
        for _ in range(steps):
            parts = draw()
            total = sum(parts[name] * logs[i].exp() for i, name in enumerate(names))
            assert isinstance(total, torch.Tensor)
            loss = functional.cross_entropy(total, torch.arange(len(total), device=total.device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            last = float(loss)
        self.weights = {name: logs[i].exp().item() for i, name in enumerate(names)}
        return last
