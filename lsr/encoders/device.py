"""Which device a model runs on."""

from __future__ import annotations

import torch

from lsr.errors import UserError


def choose_device(name: str | None) -> torch.device:
    """Return the device `name`, or CUDA where there is one, else the processor.

    Raises `UserError` where there is no such device on this machine.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UserError(
            f"--device {name} is not available on this machine; leave it out, or use cpu."
        ) from None
    if device.type == "meta":
        raise UserError("--device meta computes nothing; leave it out, or use cpu.")
    return device
