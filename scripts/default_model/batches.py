"""Batches of neighbouring documents: in-batch negatives that are hard without being mined.

TAS-B (arXiv 2104.06967) composes batches of one topic's queries; here a batch joins several topics, and
every query is compared with all documents of all of them.
"""

from __future__ import annotations

import torch


def cluster(embeddings: torch.Tensor, count: int, rounds: int, seed: int) -> torch.Tensor:
    """Return the cluster of each unit vector by spherical k-means, shape (vectors,)."""
    generator = torch.Generator(device="cpu").manual_seed(seed)
    chosen = torch.randperm(len(embeddings), generator=generator)[:count].to(embeddings.device)
    centres = embeddings[chosen].float()
    assigned = torch.zeros(len(embeddings), dtype=torch.long, device=embeddings.device)
    for _ in range(rounds):
        for first in range(0, len(embeddings), 65_536):
            part = embeddings[first : first + 65_536].float()
            assigned[first : first + 65_536] = (part @ centres.T).argmax(1)
        sums = torch.zeros_like(centres).index_add_(0, assigned, embeddings.float())
        sizes = torch.bincount(assigned, minlength=count).unsqueeze(1)
        centres = torch.where(sizes > 0, torch.nn.functional.normalize(sums, dim=1), centres)
    return assigned


class TopicBatches:
    """Draws documents by topic and queries of those documents and their neighbours.

    `weights` says how often a document is drawn, relative to others, shape (documents,).
    """

    def __init__(self, clusters: torch.Tensor, weights: torch.Tensor, topics: int, seed: int) -> None:
        self.weights, self.topics = weights, topics
        order = torch.argsort(clusters)
        sizes = torch.bincount(clusters)
        starts = torch.cumsum(sizes, 0) - sizes
        widest = int(sizes.max())
        place = torch.arange(widest, device=clusters.device)
        at = (starts.unsqueeze(1) + place).clamp(max=len(order) - 1)
        self.members = torch.where(place < sizes.unsqueeze(1), order[at], -1)
        log_weights = weights.clamp(min=1e-12).log()
        self.member_logs = torch.where(self.members >= 0, log_weights[self.members], -torch.inf)
        self.mass = torch.zeros(len(sizes), device=clusters.device).index_add_(0, clusters, weights)
        self.generator = torch.Generator(device=clusters.device).manual_seed(seed)

    def draw(self, size: int) -> torch.Tensor:
        """Return `size` distinct documents of `topics` topics (fewer where the topics are small)."""
        topics = torch.multinomial(self.mass, self.topics, generator=self.generator)
        noise = torch.rand(self.members[topics].shape, generator=self.generator, device=self.members.device)
        keys = self.member_logs[topics] - torch.log(-torch.log(noise.clamp(1e-9, 1 - 1e-7)))
        keys[self.weights[self.members[topics].clamp(min=0)] <= 0] = -torch.inf
        best, at = keys.flatten().topk(min(size, keys.numel()))
        return self.members[topics].flatten()[at[best > -torch.inf]]


class QueriesOf:
    """The queries of each document: drawn one a document, by kind."""

    def __init__(self, query_document: torch.Tensor, documents: int) -> None:
        self.order = torch.argsort(query_document, stable=True)
        self.counts = torch.bincount(query_document, minlength=documents)
        self.starts = torch.cumsum(self.counts, 0) - self.counts

    def draw(self, documents: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return one query of each document, -1 where it has none."""
        share = torch.rand(len(documents), generator=generator, device=documents.device)
        at = self.starts[documents] + (share * self.counts[documents]).long()
        found = self.order[at.clamp(max=len(self.order) - 1)]
        return torch.where(self.counts[documents] > 0, found, -1)
