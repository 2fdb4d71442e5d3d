"""A TopK sparse autoencoder over dense embeddings: CSR, "Beyond Matryoshka" (arXiv 2503.01776)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from lsr.composition.settings import AutoencoderSettings
from lsr.composition.types import SideOutput


class SparseAutoencoder(nn.Module):
    """Embeddings x, shape (texts, width), become k of `latents` activations.

    z = TopK(relu(W (x - b_pre) + b_lat)), reconstructed as W^T z + b_pre (tied). The auxiliary losses,
    weights included, are L_k + L_4k / 8 + L_aux / 32, where L_k = MSE(reconstruction, x), L_4k the same
    with four times as many latents, and

        L_aux = MSE(W^T z_dead, x - reconstruction) / MSE(mean(x), x)

    lets the strongest of the latents that no text has used for `dead_after` batches reconstruct what
    is left over: that is what revives them.
    """

    def __init__(self, width: int, settings: AutoencoderSettings) -> None:
        super().__init__()
        latents = settings.expansion * width
        self.settings = settings
        self.weight = nn.Parameter(torch.empty(latents, width))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        self.latent_bias = nn.Parameter(torch.zeros(latents))
        self.pre_bias = nn.Parameter(torch.zeros(width))
        self.idle_batches: torch.Tensor
        self.register_buffer("idle_batches", torch.zeros(latents, dtype=torch.int64))

    @property
    def latents(self) -> int:
        """The width of the sparse vectors."""
        return int(self.weight.shape[0])

    def forward(self, embeddings: torch.Tensor) -> SideOutput:
        """Return the k activations of each text, shape (texts, latents), and in training the losses."""
        embeddings = embeddings.float()
        activations = self._activations(embeddings)
        weights = _strongest(activations, self.settings.active)
        if not self.training:
            return SideOutput(weights, {})
        with torch.no_grad():
            self.idle_batches += 1
            self.idle_batches[(weights > 0).any(0)] = 0
        return SideOutput(weights, self._losses(embeddings, activations, weights))

    def _activations(self, embeddings: torch.Tensor) -> torch.Tensor:
        return functional.linear(embeddings - self.pre_bias, self.weight, self.latent_bias).relu()

    def _losses(
        self, embeddings: torch.Tensor, activations: torch.Tensor, weights: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        settings = self.settings
        reconstruction = weights @ self.weight + self.pre_bias
        wide = _strongest(activations, 4 * settings.active) @ self.weight + self.pre_bias
        losses = {
            "reconstruction": functional.mse_loss(reconstruction, embeddings),
            "wide_reconstruction": settings.wide_weight * functional.mse_loss(wide, embeddings),
        }
        dead = self.idle_batches > settings.dead_after
        # Latents die because others are always stronger: most still have a value, and so a gradient.
        revived = _strongest(activations * dead, min(settings.auxiliary, int(dead.sum())))
        rest = (embeddings - reconstruction).detach()
        spread = functional.mse_loss(embeddings.mean(0).expand_as(embeddings), embeddings).detach()
        error = functional.mse_loss(revived @ self.weight, rest) / spread.clamp(min=1e-12)
        losses["dead_latents"] = settings.dead_weight * error * bool(dead.any())
        return losses


def _strongest(activations: torch.Tensor, count: int) -> torch.Tensor:
    """Keep the `count` largest activations of each row and set the others to 0."""
    top = activations.topk(min(count, activations.shape[1]), dim=1)
    return torch.zeros_like(activations).scatter(1, top.indices, top.values)
