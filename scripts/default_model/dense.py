"""Dense teachers: mean-pooled, normalised embeddings of everything, computed once on the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional
from torch.nn.functional import normalize

from .inputs import Ragged

_WIDTHS = 16


class Packed(NamedTuple):
    """Texts laid end to end.

    `tokens`, `places` (in the text) and `owners` (number of the text) have shape (tokens,); `starts`,
    int32, shape (texts + 1,). `longest` bounds the lengths; `count` is the number of texts.
    """

    tokens: torch.Tensor
    places: torch.Tensor
    owners: torch.Tensor
    starts: torch.Tensor
    longest: int
    count: int


class Texts:
    """Ragged tokens on a device, and padded batches of them."""

    def __init__(self, ragged: Ragged, device: torch.device) -> None:
        self.values = torch.from_numpy(ragged.values.astype(np.int32)).to(device)
        self.starts = torch.from_numpy(ragged.starts).to(device)
        self.lengths = self.starts[1:] - self.starts[:-1]

    def __len__(self) -> int:
        return len(self.lengths)

    def padded(
        self, rows: torch.Tensor, fill: int = 0, limit: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tokens and mask of texts, shape (rows, longest), cut at `limit` (the last token stays)."""
        lengths = self.lengths[rows]
        # Few different widths: attention kernels are chosen, and some compiled, for each new shape.
        width = -(-int(lengths.max()) // _WIDTHS) * _WIDTHS
        width = width if limit is None else min(width, limit)
        place = torch.arange(width, device=rows.device)
        mask = place < lengths.unsqueeze(1)
        # A cut text keeps its final special token.
        at = torch.where(place == width - 1, lengths.unsqueeze(1) - 1, place).clamp(min=0)
        at = torch.where(lengths.unsqueeze(1) > width, at, place)
        taken = self.starts[rows].unsqueeze(1) + at
        tokens = self.values[taken.clamp(max=len(self.values) - 1)].long()
        return torch.where(mask, tokens, fill), mask

    def packed(self, rows: torch.Tensor, limit: int) -> Packed:
        """Return texts end to end, each cut at `limit` (its last token stays)."""
        whole = self.lengths[rows]
        lengths = whole.clamp(max=limit)
        starts = functional.pad(torch.cumsum(lengths, 0), (1, 0))
        owners = torch.repeat_interleave(lengths)
        places = torch.arange(len(owners), device=rows.device) - starts[owners]
        last = places == lengths[owners] - 1
        at = self.starts[rows][owners] + torch.where(last, whole[owners] - 1, places)
        return Packed(self.values[at].long(), places, owners, starts.int(), limit, len(rows))


def load_teacher(folder: Path, device: torch.device) -> Any:
    """Return a dense model, in half precision on a GPU."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(str(folder)).to(device).eval()
    return model.half() if device.type == "cuda" else model.float()


@torch.inference_mode()
def embed(model: Any, texts: Texts, pad: int, token_budget: int) -> torch.Tensor:
    """Return unit embeddings, float16, shape (texts, width): mean over tokens, as both teachers were trained."""
    device = texts.values.device
    order = torch.argsort(texts.lengths, descending=True)
    result = torch.zeros((len(texts), model.config.hidden_size), dtype=torch.float16, device=device)
    done = 0
    while done < len(order):
        size = max(1, token_budget // int(texts.lengths[order[done]]))
        rows = order[done : done + size]
        tokens, mask = texts.padded(rows, fill=pad)
        states = model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
        weights = mask.unsqueeze(2).to(states.dtype)
        mean = (states * weights).sum(1).float() / weights.sum(1).float()
        result[rows] = normalize(mean, dim=1).half()
        done += size
    return result
