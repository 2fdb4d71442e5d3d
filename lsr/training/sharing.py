"""How processes that train together share a batch."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn

from lsr.training.losses.gather import processes


def own_share(count: int) -> slice:
    """Return which of `count` texts this process encodes; shares in order of rank make up all of them."""
    rank = dist.get_rank() if processes() > 1 else 0
    return slice(rank * count // processes(), (rank + 1) * count // processes())


@torch.no_grad()
def average_gradients(module: nn.Module) -> None:
    """Replace every gradient by its mean over processes.

    Done once a step and here, not by DistributedDataParallel, whose bookkeeping expects one forward
    and one backward pass a step through every parameter: gradient caching makes many, and the two sides of
    an encoder use different parameters. One all-reduce for each type of number.
    """
    if processes() == 1:
        return
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for dtype in sorted({parameter.dtype for parameter in parameters}, key=str):
        alike = [parameter for parameter in parameters if parameter.dtype == dtype]
        # A process whose share was empty has no gradient where others have one.
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in alike]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= processes()
        for parameter, part in zip(alike, torch.split(flat, [p.numel() for p in alike]), strict=True):
            parameter.grad = part.view_as(parameter).clone()
