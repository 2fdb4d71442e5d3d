"""The sparse head: token states times vocabulary, pooled over tokens, activated, as one operation.

[batch, length, vocabulary] logits are never in memory, forward or backward. SPLADE v2 (arXiv
2109.10086) defines the head; taking the maximum before the activation and sending gradients to
the winning tokens alone follows Sparton (arXiv 2603.25011).
"""

from __future__ import annotations

from lsr.composition.sparse_head.activation import HeadActivation, HeadPooling
from lsr.composition.sparse_head.head import Implementation, sparse_head

__all__ = ["HeadActivation", "HeadPooling", "Implementation", "sparse_head"]
