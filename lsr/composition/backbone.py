"""The transformer under a head: token ids in, token states out, its vocabulary projection apart."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lsr.composition.adapters import add_adapters
from lsr.composition.checkpoints import empty_model, find_checkpoint, load_model
from lsr.composition.settings import VOCABULARY_HEADS, SideSettings
from lsr.composition.types import TokenBatch
from lsr.encoders.masked_lm import MaskedLanguageModel
from lsr.errors import UserError


class Backbone(nn.Module):
    """A transformers model whose projection to the vocabulary, where it has one, is taken off.

    `folder` holds the tokenizer and ``config.json``. With a vocabulary head, `states` are what the
    projection reads (behind an MLM head's transform); without one, the last hidden states.
    """

    def __init__(self, model: Any, settings: SideSettings, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self._frozen = settings.frozen
        self._bidirectional = settings.bidirectional
        self._language_model: MaskedLanguageModel | None = None
        if settings.lora is not None:
            add_adapters(model, settings.lora)
        training = model.training
        self._embeddings_width = int(model.get_input_embeddings().weight.shape[0])
        if settings.head in VOCABULARY_HEADS:
            # Registers the model without its projection, and the projection beside it.
            self._language_model = MaskedLanguageModel(model, str(folder))
            self.projection: nn.Linear | None = self._language_model.projection
        else:
            self.projection = None
            if getattr(model, "pooler", None) is not None:
                # Not read here, and a parameter without gradients stops distributed training.
                model.pooler = None
        self.model = model.train(training)
        if settings.frozen:
            self.requires_grad_(False)

    @classmethod
    def load(cls, source: str, settings: SideSettings) -> Backbone:
        """Load the checkpoint `source`, a folder or a Hugging Face id."""
        folder = find_checkpoint(source)
        return cls(load_model(folder, settings.head, _dtype(settings)), settings, folder)

    @classmethod
    def empty(cls, folder: Path, settings: SideSettings) -> Backbone:
        """Build the architecture in `folder`, which holds no weights; they are to be filled in."""
        return cls(empty_model(folder, settings.head, _dtype(settings)), settings, folder)

    @property
    def config(self) -> Any:
        """The transformers configuration."""
        return self.model.config

    @property
    def width(self) -> int:
        """The size of a token state."""
        return int(self.config.hidden_size)

    @property
    def vocabulary_size(self) -> int:
        """The number of token ids."""
        return self._embeddings_width if self.projection is None else int(self.projection.weight.shape[0])

    @property
    def max_length(self) -> int | None:
        """The longest input that the model has positions for; None where it has no table of them."""
        for name, module in self.model.named_modules():
            if name.rpartition(".")[2] == "position_embeddings" and isinstance(module, nn.Embedding):
                # RoBERTa and its kin count positions from behind the padding index.
                skipped = 0 if module.padding_idx is None else module.padding_idx + 1
                return int(module.num_embeddings - skipped)
        longest = getattr(self.config, "max_position_embeddings", None)
        return int(longest) if longest and longest > 0 else None

    def forward(self, batch: TokenBatch) -> torch.Tensor:
        """Return the states of all tokens, shape (texts, length, width)."""
        mask = batch.attention_mask
        if self._bidirectional:
            mask = _everyone_sees_everyone(mask, next(self.model.parameters()).dtype)
        with torch.no_grad() if self._frozen else contextlib.nullcontext():
            output = self.model(input_ids=batch.input_ids, attention_mask=mask)
        states: torch.Tensor = output.last_hidden_state if self.projection is None else output.logits
        return states

    def train(self, mode: bool = True) -> Backbone:
        """Switch dropout on or off; a frozen backbone never drops anything."""
        super().train(mode and not self._frozen)
        return self

    def whole_copy(self) -> Any:
        """Return a copy of the transformers model with its projection back in place."""
        if self._language_model is None:
            return copy.deepcopy(self.model)
        with self._language_model.whole() as model:
            return copy.deepcopy(model)


def check_same_vocabulary(document: int, query: int) -> None:
    """Refuse two sides whose term ids cannot mean the same."""
    if document != query:
        raise UserError(
            f"the document side has {document} terms and the query side {query}; "
            "give both sides backbones with the same tokenizer."
        )


def _everyone_sees_everyone(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return an additive mask of shape (texts, 1, length, length) that hides padding only.

    transformers takes a mask of four dimensions as it is and adds no causal one (LACONIC's
    bidirectional adaptation, arXiv 2601.01684).
    """
    length = mask.shape[1]
    hidden = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    hidden = hidden.masked_fill(mask == 0, torch.finfo(dtype).min)
    return hidden[:, None, None, :].expand(-1, 1, length, length)


def _dtype(settings: SideSettings) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, settings.precision)
    return dtype
