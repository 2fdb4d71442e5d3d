"""One process a device: gradients are averaged, and all keep to the first one's clock."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import distributed


class Workers:
    """The processes of a run, started by ``torchrun``; one alone needs no start."""

    def __init__(self) -> None:
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.number = int(os.environ.get("RANK", "0"))
        self.device = torch.device("cpu")
        if torch.cuda.is_available():
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(self.device)
        if self.count > 1:
            kind = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            distributed.init_process_group(kind)

    @property
    def first(self) -> bool:
        """Whether this process speaks for all."""
        return self.number == 0

    def agree(self, value: float) -> float:
        """Return the first process's `value`."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64)
        distributed.broadcast(shared, 0)
        return float(shared)

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes."""
        if self.count == 1:
            return
        held = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in held])
        distributed.all_reduce(flat)
        flat /= self.count
        first = 0
        for gradient in held:
            gradient.copy_(flat[first : first + gradient.numel()].view_as(gradient))
            first += gradient.numel()

    def wait(self) -> None:
        """Wait for the first process."""
        self.agree(0.0)
