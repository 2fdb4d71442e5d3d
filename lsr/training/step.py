"""One batch: texts to weights, weights to losses, losses to gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import nn

from lsr.composition.types import SideOutput, TokenBatch, TrainableEncoder
from lsr.training.batch import ScoredBatch
from lsr.training.collation import TextBatch
from lsr.training.gradient_cache import CachedSide
from lsr.training.losses.combined import CombinedRankingLoss, SparsityPenalty
from lsr.training.losses.gather import gather_with_gradient
from lsr.training.losses.term_regression import TermMSE, bag_of_terms, query_term_recall
from lsr.training.sharing import own_share
from lsr.training.teachers import TeacherPanel

Backward = Callable[[torch.Tensor], None]


class StepResult(NamedTuple):
    """A batch's loss and the figures that are logged of it."""

    loss: torch.Tensor
    figures: dict[str, float]


class BatchStep(nn.Module):
    """The loss of a batch and its gradients, however many processes share it.

    Each process encodes its share of the queries and documents; the weights are gathered before
    scores and sparsity losses, so every process computes the whole batch's loss. After `run`, the
    mean over processes of the parameters' gradients is the gradient of that loss.

    Args:
        encoder: what is trained.
        ranking: the ranking losses; None where term weights are learned by regression alone.
        sparsity: the sparsity losses of both sides.
        terms: the regression of documents' term weights to what their queries hold (DeepCT).
        teachers: teachers in the loop.
        cache_chunk: texts that a forward pass with gradients holds; 0 for all.
        precision: context in which the encoder runs (mixed precision).
    """

    def __init__(
        self,
        encoder: TrainableEncoder,
        ranking: CombinedRankingLoss | None,
        sparsity: SparsityPenalty,
        *,
        terms: TermMSE | None = None,
        teachers: TeacherPanel | None = None,
        cache_chunk: int = 0,
        precision: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        super().__init__()
        self.module = encoder.module
        self.ranking = ranking
        self.sparsity = sparsity
        self.terms = terms
        self.precision = precision
        self._encoder = encoder
        self._teachers = teachers
        self._cache_chunk = cache_chunk
        probe = encoder.query_side(encoder.tokenize_queries(["a"]).to(self.device))
        self._trains_queries = probe.weights.requires_grad

    @property
    def device(self) -> torch.device:
        """Where the encoder is."""
        return next(iter(self.module.parameters())).device

    def run(self, batch: TextBatch, step: int, backward: Backward, scale: float = 1.0) -> StepResult:
        """Add the gradients of `scale` times the loss of a batch to the parameters.

        `step`, from 0, is the optimizer's, for the schedules; `backward` is called with scalars.
        """
        queries = self._side(batch.queries, self._encoder.tokenize_queries, self._encoder.query_side)
        documents = self._side(batch.documents, self._encoder.tokenize_documents, self._encoder.document_side)
        query_weights = gather_with_gradient(queries.weights, same_loss=True)
        document_weights = gather_with_gradient(documents.weights, same_loss=True)
        scored = self._scored(batch, query_weights, document_weights)
        parts: dict[str, torch.Tensor] = {}
        loss = torch.zeros((), device=self.device)
        if self.ranking is not None:
            ranking = self.ranking(scored)
            parts.update(ranking.parts)
            loss = loss + ranking.total
        if self.terms is not None:
            regression = self._regression(batch, document_weights)
            parts["term-mse"] = regression.detach()
            loss = loss + regression
        sparsity = self.sparsity(step, query_weights if self._trains_queries else None, document_weights)
        auxiliary = _summed(queries.auxiliary, documents.auxiliary)
        loss = loss + sparsity.total
        parts.update(sparsity.parts)
        backward(scale * torch.stack([loss, *auxiliary.values()]).sum())
        for side in (queries, documents):
            if isinstance(side, CachedSide):
                side.backward(backward, scale)
        figures = _figures(query_weights, document_weights, scored)
        self.sparsity.observe(step, figures["query_terms"], figures["document_terms"])
        for name, part in parts.items():
            figures[f"loss/{name}"] = float(part)
        figures.update({f"lambda/{name}": weight for name, weight in sparsity.weights.items()})
        extra = {**auxiliary}
        for side in (queries, documents):
            if isinstance(side, CachedSide):
                extra = _summed(extra, side.cached_auxiliary)
        figures.update({f"loss/auxiliary/{name}": float(part.detach()) for name, part in extra.items()})
        total = loss.detach() + sum((part.detach() for part in extra.values()), torch.zeros_like(loss))
        return StepResult(total, figures)

    def _regression(self, batch: TextBatch, weights: torch.Tensor) -> torch.Tensor:
        """Return the term loss over the documents that a query of the batch is answered by."""
        assert self.terms is not None
        width = weights.shape[1]
        documents = self._encoder.tokenize_documents(batch.documents).to(self.device)
        queries = self._encoder.tokenize_queries(batch.queries).to(self.device)
        # What is in every text, [CLS] and its like, is no term.
        everywhere = sorted(set(self._encoder.tokenize_documents([""]).input_ids.flatten().tolist()))
        held = bag_of_terms(documents, width, everywhere)
        asked = bag_of_terms(queries, width, everywhere)
        positives = batch.positives.to(self.device)
        answered = torch.bincount(positives, minlength=len(batch.documents)) > 0
        targets = query_term_recall(asked, positives, len(batch.documents))
        loss: torch.Tensor = self.terms(weights, targets, held & answered[:, None])
        return loss

    def _side(
        self,
        texts: Sequence[str],
        tokenize: Callable[[Sequence[str]], TokenBatch],
        encode: Callable[[TokenBatch], SideOutput],
    ) -> SideOutput | CachedSide:
        """Return this process's share of one side."""
        own = texts[own_share(len(texts))]
        # A process without a share encodes something, so that its weights have a width and gradients.
        tokens = tokenize(list(own) or [""]).to(self.device)

        def encoded(piece: TokenBatch) -> SideOutput:
            with self.precision():
                output = encode(piece)
            return SideOutput(output.weights.float(), output.auxiliary)

        if self._cache_chunk and len(own) > self._cache_chunk:
            return CachedSide(encoded, tokens, self._cache_chunk)
        output = encoded(tokens)
        return output if own else SideOutput(output.weights[:0], {})

    def _scored(self, batch: TextBatch, queries: torch.Tensor, documents: torch.Tensor) -> ScoredBatch:
        teacher, in_batch = batch.teacher, None
        if self._teachers is not None:
            teacher, in_batch = self._teachers.score(batch, queries.device)
        return ScoredBatch(
            scores=queries @ documents.t(),
            positives=batch.positives.to(queries.device),
            candidates=batch.candidates.to(queries.device),
            teacher=None if teacher is None else teacher.to(queries.device),
            in_batch_teacher=in_batch,
        )


def _summed(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name: torch.stack([side[name] for side in (first, second) if name in side]).sum()
        for name in {**first, **second}
    }


@torch.no_grad()
def _figures(queries: torch.Tensor, documents: torch.Tensor, scored: ScoredBatch) -> dict[str, float]:
    """Return mean numbers of terms, the expected number that a query and a document share (FLOPS), and
    how often the positive is the best of the batch.
    """
    in_queries, in_documents = (weights > 0 for weights in (queries, documents))
    shared = in_queries.float().mean(0) @ in_documents.float().mean(0)
    best = (scored.scores.argmax(1) == scored.positives).float().mean()
    return {
        "document_terms": float(in_documents.sum(1).float().mean()),
        "query_terms": float(in_queries.sum(1).float().mean()),
        "flops": float(shared),
        "accuracy": float(best),
    }
