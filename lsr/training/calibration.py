"""Starting sparse: the output biases under which an untrained head gives the wanted number of terms.

Heads that were not trained as such (tied to a dense encoder's embeddings, or random) activate most of the
vocabulary for every text: training starts with vectors that are all alike, and every step pays for terms
that the sparsity loss will only take away. Logit scaling and lower biases are the field's ways out; here each
term's bias is lowered to where only the texts that stand out for it still have it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lsr.composition.model import SparseModel
from lsr.errors import UserError

_LIFT = 1e3
_BATCH = 8


@torch.no_grad()
def start_with_terms(encoder: SparseModel, documents: Sequence[str], terms: int) -> None:
    """Set the document head's biases so that `documents` have `terms` terms on average.

    With m_j and s_j the mean and standard deviation over documents of term j's largest logit, the bias
    becomes b_j - m_j - z s_j, one z for all terms. Standing out is measured against the term's own
    spread, so frequent words get no advantage, as in an IDF. Needs a vocabulary head with max pooling
    and the activation log1p or relu, whose logits can be had back from its weights.
    """
    settings = encoder.settings.document
    projection = encoder.document.backbone.projection
    if (
        projection is None
        or settings.pooling != "max"
        or settings.gate != "none"
        or settings.activation not in ("relu", "log1p", "double-log1p")
    ):
        raise UserError(
            "training.start_terms sets the biases of a vocabulary head with max pooling, without a gate, and the "
            "activation log1p, double-log1p or relu; leave it at 0 for this model."
        )
    if projection.bias is None:
        raise UserError(
            "training.start_terms needs an output bias, which this backbone's head lacks; leave it at 0."
        )
    logits = _largest_logits(encoder, documents)
    mean, spread = logits.mean(0), logits.std(0).clamp(min=1e-6)
    standing_out = ((logits - mean) / spread).flatten()
    kept = min(max(len(documents) * terms, 1), standing_out.numel())
    threshold = standing_out.kthvalue(standing_out.numel() - kept + 1).values
    projection.bias.sub_(mean + threshold * spread)


def _largest_logits(encoder: SparseModel, documents: Sequence[str]) -> torch.Tensor:
    """Return every term's largest logit in every document, also those below 0, shape (documents, terms)."""
    projection = encoder.document.backbone.projection
    assert projection is not None  # the caller has looked
    assert projection.bias is not None
    activation = encoder.settings.document.activation
    training = encoder.training
    encoder.eval()
    # Lifted far above 0 the activation loses nothing, and can be undone.
    projection.bias.add_(_LIFT)
    parts = []
    for first in range(0, len(documents), _BATCH):
        batch = encoder.tokenize_documents(documents[first : first + _BATCH]).to(encoder.device)
        weights = encoder.document_side(batch).weights.double()
        for _ in range({"relu": 0, "log1p": 1, "double-log1p": 2}[activation]):
            weights = weights.expm1()
        # Special tokens that are zeroed stay where no threshold lets them through.
        parts.append(torch.where(weights > 0, weights - _LIFT, 0).float())
    projection.bias.sub_(_LIFT)
    encoder.train(training)
    return torch.cat(parts)
