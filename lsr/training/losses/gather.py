"""One loss for the whole batch, whatever the number of processes.

FLOPS squares a mean over texts and in-batch negatives are other processes' documents, so neither is a
mean of what processes compute by themselves: training would change with their number (tevatron's users
report a sparsity two to four times different: texttron/tevatron#36). So every process gathers all
weights and computes the same, whole loss L, undivided and unmultiplied.

The factor: with W processes and data-parallel training, gradients are averaged. The backward pass
here adds the gradients that all W processes have of a slice and returns the sum to its owner, W dL/dx
where all compute the same L. Averaging over processes divides by W and leaves dL/dtheta, that of one
process with the whole batch. Hence do not multiply the loss by W, as trainers must whose gather keeps
only the local slice. Parts of a loss that are not gathered, such as an encoder's auxiliary losses, are
averaged over processes as usual.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

from lsr.training.batch import ScoredBatch


def processes() -> int:
    """Return the number of processes that train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_with_gradient(tensor: torch.Tensor, *, same_loss: bool = False) -> torch.Tensor:
    """Return the rows of all processes, in order of rank, with gradients to their owners.

    Processes may have different numbers of rows, or none. `same_loss`: what is computed from the result
    is the same on every process, so its gradient is known to be W times the local one, and the backward
    pass saves the all-reduce of (all texts, vocabulary) numbers. With one process, the tensor itself.
    """
    if processes() == 1:
        return tensor
    gathered: torch.Tensor = _Gather.apply(tensor, same_loss)  # type: ignore[no-untyped-call]
    return gathered


def gather_rows(tensor: torch.Tensor) -> torch.Tensor:
    """Return the rows of all processes, in order of rank, without gradients."""
    if processes() == 1:
        return tensor
    counts = _row_counts(tensor)
    padded = tensor.new_zeros((max(counts), *tensor.shape[1:]))
    padded[: len(tensor)] = tensor.detach()
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def gather_batch(
    query_weights: torch.Tensor,
    document_weights: torch.Tensor,
    positives: torch.Tensor,
    candidates: torch.Tensor,
    teacher: torch.Tensor | None = None,
) -> tuple[ScoredBatch, torch.Tensor, torch.Tensor]:
    """Return the scored batch of all processes, with all query and all document weights.

    The arguments are this process's; `positives` and `candidates` are columns of its own documents and
    are moved to those of all. Candidate lists of unequal width are filled up with -1. Teacher scores
    must be there on every process or on none. The loss of the result is the same on every process.
    """
    queries = gather_with_gradient(query_weights, same_loss=True)
    documents = gather_with_gradient(document_weights, same_loss=True)
    if processes() > 1:
        offset = sum(_row_counts(document_weights)[: dist.get_rank()])
        width = _largest(candidates.shape[1], candidates.device)
        positives = gather_rows(positives + offset)
        candidates = torch.where(candidates < 0, -1, candidates + offset)
        candidates = gather_rows(_widened(candidates, width, -1))
        teacher = None if teacher is None else gather_rows(_widened(teacher, width, torch.nan))
    scores = queries @ documents.t()
    return ScoredBatch(scores, positives, candidates, teacher), queries, documents


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, same_loss: bool) -> torch.Tensor:
        counts = _row_counts(tensor)
        rank = dist.get_rank()
        ctx.rows = slice(sum(counts[:rank]), sum(counts[: rank + 1]))
        ctx.same_loss = same_loss
        return gather_rows(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        gradient = gradients[0]
        if ctx.same_loss:
            return gradient[ctx.rows] * dist.get_world_size(), None
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[ctx.rows], None


def _row_counts(tensor: torch.Tensor) -> list[int]:
    counts = [torch.zeros(1, dtype=torch.int64, device=tensor.device) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, torch.tensor([len(tensor)], device=tensor.device))
    return [int(count) for count in counts]


def _largest(number: int, device: torch.device) -> int:
    largest = torch.tensor(number, device=device)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest)


def _widened(tensor: torch.Tensor, width: int, fill: float) -> torch.Tensor:
    return torch.nn.functional.pad(tensor, (0, width - tensor.shape[1]), value=fill)
