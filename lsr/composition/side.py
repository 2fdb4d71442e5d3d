"""One side of an encoder: backbone, head, pooling, activation, gate."""

from __future__ import annotations

import torch
from torch import nn

from lsr.composition.autoencoder import SparseAutoencoder
from lsr.composition.backbone import Backbone
from lsr.composition.echo import echoed
from lsr.composition.gates import GatingController, ImportanceAndQuality
from lsr.composition.own_tokens import bag_of_tokens, scatter_to_tokens
from lsr.composition.settings import VOCABULARY_HEADS, SideSettings
from lsr.composition.types import SideOutput, TokenBatch
from lsr.composition.vocabulary_head import activate, vocabulary_weights


class HeadParts(nn.Module):
    """The parameters that a side has on top of its backbone; sides that are the same share them."""

    def __init__(self, settings: SideSettings, backbone: Backbone) -> None:
        super().__init__()
        width = backbone.width
        self.token_mlp: nn.Module | None = None
        self.dense: nn.Linear | None = None
        self.autoencoder: SparseAutoencoder | None = None
        self.controller: GatingController | None = None
        self.epic: ImportanceAndQuality | None = None
        if settings.head == "token-mlp":
            self.token_mlp = _mlp(width, settings.layers)
        if settings.dimensions is not None:
            self.dense = nn.Linear(width, settings.dimensions)
        if settings.autoencoder is not None:
            self.autoencoder = SparseAutoencoder(width, settings.autoencoder)
        if settings.gate == "controller":
            self.controller = GatingController(width, backbone.vocabulary_size)
        if settings.gate == "importance-quality":
            self.epic = ImportanceAndQuality(width)


class Side(nn.Module):
    """Turns token ids into term weights as `settings` say; see `SideSettings` for each part.

    `special`, int64, are the ids of special tokens. `parts` are another side's, to be shared.
    """

    def __init__(
        self,
        settings: SideSettings,
        backbone: Backbone,
        special: torch.Tensor,
        parts: HeadParts | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.backbone = backbone
        self.parts = HeadParts(settings, backbone) if parts is None else parts
        self.special: torch.Tensor
        self.register_buffer("special", special, persistent=False)

    @property
    def width(self) -> int:
        """The number of terms."""
        if self.parts.autoencoder is not None:
            return self.parts.autoencoder.latents
        if self.settings.head == "dense":
            return self.settings.dimensions or self.backbone.width
        return self.backbone.vocabulary_size

    def forward(self, batch: TokenBatch) -> SideOutput:
        """Return term weights, shape (texts, `width`); a text without tokens has none."""
        filled = _with_a_token(batch)
        if self.settings.head == "dense":
            output = self._dense(filled)
        elif self.settings.head == "token-mlp":
            output = SideOutput(self._own_tokens(filled), {})
        else:
            output = SideOutput(self._expanded(filled), {})
        weights = output.weights
        empty = batch.attention_mask.sum(1, keepdim=True) == 0
        if empty.any():
            weights = weights.masked_fill(empty, 0.0)
        if self.settings.special_tokens == "zero" and self.settings.head != "dense":
            weights = weights.index_fill(1, self.special, 0.0)
        if self.settings.top_k is not None and self.settings.autoencoder is None:
            weights = keep_largest(weights, self.settings.top_k)
        return SideOutput(weights, output.auxiliary)

    def _expanded(self, batch: TokenBatch) -> torch.Tensor:
        settings, projection = self.settings, self.backbone.projection
        if projection is None or settings.head not in VOCABULARY_HEADS:
            raise TypeError(f"head {settings.head} on a backbone without a vocabulary")
        states, pooled = self._states(batch)
        first = states[:, 0]
        if settings.head == "cls-mlm":
            packed, lengths = first, torch.ones_like(pooled[:, 0], dtype=torch.long)
        else:
            packed, lengths = states[pooled], pooled.sum(1)
        weight: torch.Tensor = projection.weight
        bias: torch.Tensor | None = projection.bias
        own = bag_of_tokens(batch, self.width) if settings.gate in ("lexical", "controller") else None
        read = packed
        if self.parts.epic is not None:
            # importance x (w . h + b), with b as one more column of the projection.
            importance = self.parts.epic.token_importance(packed.float()).to(packed.dtype)
            read = packed * importance
            if bias is not None:
                read = torch.cat([read, importance], 1)
                weight, bias = torch.cat([weight, bias[:, None]], 1), None
        weights = vocabulary_weights(
            read, lengths, weight, bias, pooling=settings.pooling, activation=settings.activation
        )
        if self.parts.epic is not None:
            weights = weights * self.parts.epic.text_quality(first.float())
        if self.parts.controller is not None and own is not None:
            weights = weights * self.parts.controller(packed, lengths, projection.weight, own)
        elif own is not None:
            weights = weights * own
        return weights

    def _own_tokens(self, batch: TokenBatch) -> torch.Tensor:
        assert self.parts.token_mlp is not None
        states, pooled = self._states(batch)
        if self.settings.echo:
            # The second copies, moved back to where the batch has its tokens.
            states = _aligned(states, pooled, batch)
        values = activate(self.parts.token_mlp(states.float())[..., 0], self.settings.activation)
        return scatter_to_tokens(batch, values, self.width, self.settings.pooling)

    def _dense(self, batch: TokenBatch) -> SideOutput:
        states, pooled = self._states(batch)
        if self.settings.dense_pooling == "cls":
            embeddings = states[:, 0]
        elif self.settings.dense_pooling == "last":
            places = torch.arange(pooled.shape[1], device=pooled.device)
            last = (places * pooled).amax(1)
            embeddings = states[torch.arange(len(last), device=last.device), last]
        else:
            share = pooled.to(states.dtype)
            embeddings = (states * share[..., None]).sum(1) / share.sum(1, keepdim=True)
        if self.parts.autoencoder is not None:
            output: SideOutput = self.parts.autoencoder(embeddings)
            return output
        if self.parts.dense is not None:
            embeddings = self.parts.dense(embeddings.float())
        return SideOutput(activate(embeddings, self.settings.activation), {})

    def _states(self, batch: TokenBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return token states and the mask of those to pool, shapes (texts, length[, width])."""
        if self.settings.echo:
            twice, second = echoed(batch)
            return self.backbone(twice), second
        return self.backbone(batch), batch.attention_mask.bool()


def keep_largest(weights: torch.Tensor, count: int) -> torch.Tensor:
    """Keep the `count` largest weights of each row and set the others to 0, shape as before."""
    top = weights.topk(min(count, weights.shape[1]), dim=1)
    return torch.zeros_like(weights).scatter(1, top.indices, top.values)


def _aligned(states: torch.Tensor, second: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    aligned = states.new_zeros((*batch.input_ids.shape, states.shape[-1]))
    aligned[batch.attention_mask.bool()] = states[second]
    return aligned


def _with_a_token(batch: TokenBatch) -> TokenBatch:
    """Let every text have at least its first token; heads and attention need one."""
    mask = batch.attention_mask.clone()
    mask[:, 0] = 1
    return TokenBatch(batch.input_ids, mask)


def _mlp(width: int, layers: int) -> nn.Module:
    """Return `layers` linear layers with relu between them, to one weight a token.

    It starts at a weight of about 1 for every token: below 0 nothing would ever be learned.
    """
    hidden = [part for _ in range(layers - 1) for part in (nn.Linear(width, width), nn.ReLU())]
    last = nn.Linear(width, 1)
    nn.init.normal_(last.weight, std=0.02)
    nn.init.ones_(last.bias)
    return nn.Sequential(*hidden, last)
