"""Gradient caching (GradCache, Gao et al. 2021, arXiv 2101.06983): large batches at fixed memory.

In-batch negatives and FLOPS need the weights of the whole batch, but not the whole batch's
activations. All texts are encoded in chunks without gradients; the loss of their weights gives the
gradient of each weight; then each chunk is encoded once more, with gradients and the same random
numbers, and its part is carried on to the parameters. The gradients are those of the plain way.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from lsr.composition.types import SideOutput, TokenBatch


class CachedSide:
    """One side of a batch, encoded in chunks.

    `weights`, shape (texts, vocabulary), is a leaf: once a loss of it has been carried back, `backward`
    carries its gradient on. `auxiliary` is empty, because the losses that the encoder brings along
    are carried back with the chunks; `cached_auxiliary` holds their values, means over chunks weighted
    by their texts.
    """

    def __init__(self, encode: Callable[[TokenBatch], SideOutput], tokens: TokenBatch, chunk: int) -> None:
        self._encode = encode
        self._chunks = [
            _trimmed(ids, mask)
            for ids, mask in zip(*(torch.split(part, chunk) for part in tokens), strict=True)
        ]
        self._states: list[tuple[torch.Tensor, list[torch.Tensor]]] = []
        self._count = len(tokens.input_ids)
        self.auxiliary: dict[str, torch.Tensor] = {}
        self.cached_auxiliary: dict[str, torch.Tensor] = {}
        parts = []
        with torch.no_grad():
            for piece in self._chunks:
                self._states.append(_random_state(piece.input_ids.device))
                parts.append(encode(piece).weights)
        self.weights = torch.cat(parts).requires_grad_()

    def backward(self, backward: Callable[[torch.Tensor], None], scale: float) -> None:
        """Carry the gradient of `weights`, and `scale` times the auxiliary losses, on to the parameters."""
        gradient = self.weights.grad
        after = _random_state(self.weights.device)
        parts = (
            [None] * len(self._chunks)
            if gradient is None
            else torch.split(gradient, [len(piece.input_ids) for piece in self._chunks])
        )
        for piece, state, part in zip(self._chunks, self._states, parts, strict=True):
            _set_random_state(state, piece.input_ids.device)
            output = self._encode(piece)
            share = len(piece.input_ids) / self._count
            terms = [share * scale * loss for loss in output.auxiliary.values()]
            for name, loss in output.auxiliary.items():
                known = self.cached_auxiliary.get(name, torch.zeros_like(loss))
                self.cached_auxiliary[name] = known + share * loss.detach()
            if part is not None and output.weights.requires_grad:
                terms.append((output.weights * part).sum())
            if terms:
                backward(torch.stack(terms).sum())
        _set_random_state(after, self.weights.device)


def _trimmed(ids: torch.Tensor, mask: torch.Tensor) -> TokenBatch:
    """Return a chunk without the padding that only other chunks' texts need."""
    used = int(mask.any(0).nonzero().max()) + 1 if mask.any() else 1
    return TokenBatch(ids[:, :used], mask[:, :used])


def _random_state(device: torch.device) -> tuple[torch.Tensor, list[torch.Tensor]]:
    on_device = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return torch.get_rng_state(), on_device


def _set_random_state(state: tuple[torch.Tensor, list[torch.Tensor]], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    for on_device in state[1]:
        torch.cuda.set_rng_state(on_device, device)
