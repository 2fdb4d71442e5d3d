"""Encoders: text in, term weights out.

Names are loaded when first used: `load_query_encoder` must not pay for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lsr.encoders.base import CorpusStatistics, Encoder, QueryEncoder
    from lsr.encoders.loading import load_encoder, load_query_encoder
    from lsr.encoders.options import EncoderOptions

_HOME = {
    "CorpusStatistics": "lsr.encoders.base",
    "Encoder": "lsr.encoders.base",
    "EncoderOptions": "lsr.encoders.options",
    "QueryEncoder": "lsr.encoders.base",
    "load_encoder": "lsr.encoders.loading",
    "load_query_encoder": "lsr.encoders.loading",
}

__all__ = [
    "CorpusStatistics",
    "Encoder",
    "EncoderOptions",
    "QueryEncoder",
    "load_encoder",
    "load_query_encoder",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'lsr.encoders' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
