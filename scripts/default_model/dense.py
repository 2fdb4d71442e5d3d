"""Dense teachers: mean-pooled, normalised embeddings of everything, computed once on the device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

from .inputs import Ragged

_WIDTHS = 16


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


def embed(model_folder: Path, texts: Texts, pad: int, token_budget: int) -> torch.Tensor:
    """Return unit embeddings, float16, shape (texts, width): mean over tokens, as both teachers were trained."""
    from transformers import AutoModel

    device = texts.values.device
    model = AutoModel.from_pretrained(str(model_folder)).to(device).eval()
    if device.type == "cuda":
        model = model.half()
    order = torch.argsort(texts.lengths, descending=True)
    result = torch.zeros((len(texts), model.config.hidden_size), dtype=torch.float16, device=device)
    done = 0
    with torch.inference_mode():
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
