"""Weights in a quarter of their size: matrices as int8 with a float16 step a row, in safetensors.

A matrix ``name`` becomes ``name`` (int8, rows x columns) and ``name.step`` (float16, rows x 1); a
row's values are its codes times its step. A matrix that this would change by more than 1 % (Frobenius
norm), as a few columns far larger than the others do, has a step for every 128 columns of a row. One
that this would still change by more than 2 %, such as one of large numbers on its diagonal and tiny
ones beside it, stays float16, and whatever is no matrix float32.
"""

from __future__ import annotations

from pathlib import Path

import torch

from lsr.errors import UserError

PACKED_FILE = "packed.safetensors"
_STEP = ".step"
_LEVELS = 127
# What rounding may cost a matrix before its rows are cut into groups of columns, and before it stays float16.
_GOOD_ERROR = 0.01
WORST_ERROR = 0.02
_GROUP = 128
_FORM = {"form": "lsr int8 rows", "version": "1"}
_LARGEST_HALF = 65504.0


def write_packed(state: dict[str, torch.Tensor], path: Path) -> dict[str, float]:
    """Write `state` to `path`; return each int8 matrix's relative error (Frobenius norm).

    Tensors of equal values, as tied ones are, are written once, under the first of their names in the
    alphabet, and the others as its aliases.
    """
    from safetensors.torch import save_file

    written: dict[str, torch.Tensor] = {}
    errors: dict[str, float] = {}
    aliases: dict[str, str] = {}
    for name, tensor in sorted(state.items()):
        tied = next((other for other in written if other in state and _same(tensor, state[other])), None)
        if tied is not None:
            aliases[f"alias {name}"] = tied
            continue
        if not tensor.is_floating_point():
            written[name] = tensor.contiguous()
            continue
        values = tensor.detach().float().cpu()
        if not torch.isfinite(values).all():
            raise UserError(f"{name} has values that are not finite; it is no model to pack.")
        if values.dim() == 2:
            codes, steps, error = _quantised(values, values.shape[1])
            if error > _GOOD_ERROR:
                codes, steps, error = _quantised(values, _GROUP)
            if error <= WORST_ERROR:
                written[name], written[name + _STEP] = codes, steps
                errors[name] = error
                continue
        small = values.dim() == 2 and float(values.abs().max()) < _LARGEST_HALF
        written[name] = values.half() if small else values.contiguous()
    save_file(written, str(path), metadata={**_FORM, **aliases})
    return errors


def read_packed(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors that `write_packed` wrote, as float32; `UserError` for any other file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = dict(file.metadata() or {})
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}); pack or download the model again.") from None
    if {name: metadata.get(name) for name in _FORM} != _FORM:
        raise UserError(f"{path} is not in the form that this version of lsr reads; pack the model again.")
    state: dict[str, torch.Tensor] = {}
    for name, tensor in stored.items():
        if name.endswith(_STEP) and name.removesuffix(_STEP) in stored:
            continue
        if tensor.dtype == torch.int8 and tensor.dim() == 2:
            steps = stored.get(name + _STEP)
            shapes = [(len(tensor), 1), (len(tensor), -(-tensor.shape[1] // _GROUP))]
            if steps is None or tuple(steps.shape) not in shapes or not torch.isfinite(steps).all():
                raise UserError(f"{path} has no step for each row of {name}; pack the model again.")
            state[name] = _unpacked(tensor, steps)
        else:
            state[name] = tensor.float() if tensor.is_floating_point() else tensor
    for key, name in metadata.items():
        if key.startswith("alias "):
            if name not in state:
                raise UserError(f"{path} names {name}, which it does not hold; pack the model again.")
            state[key.removeprefix("alias ")] = state[name]
    return state


def _quantised(values: torch.Tensor, group: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Return (codes, float16 steps of each row's groups of columns, relative error)."""
    largest = torch.stack([part.abs().amax(1) for part in values.split(group, 1)], 1)  # type: ignore[no-untyped-call]
    exact = largest / _LEVELS
    steps = exact.half()
    # Never so small that a code would leave ±127.
    steps = torch.where(steps.float() < exact, torch.nextafter(steps, steps.new_tensor(torch.inf)), steps)
    divisors = _spread(torch.where(steps > 0, steps, torch.ones_like(steps)), values.shape[1])
    codes = torch.round(values / divisors).clamp_(-_LEVELS, _LEVELS).to(torch.int8)
    error = (_unpacked(codes, steps) - values).norm() / values.norm().clamp_min(1e-30)
    return codes, steps, float(error)


def _unpacked(codes: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    return codes.float() * _spread(steps, codes.shape[1])


def _spread(steps: torch.Tensor, columns: int) -> torch.Tensor:
    """Return the step of every column, or one column of steps that serve whole rows."""
    if steps.shape[1] == 1:
        return steps.float()
    return steps.float().repeat_interleave(_GROUP, 1)[:, :columns]


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.numel() > 1 and torch.equal(a, b)
