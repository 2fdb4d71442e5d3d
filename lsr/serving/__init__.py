"""Serving indexes over HTTP.

`create_app` makes the application over anything with the methods of `ServedIndex`; `LocalIndex` is one
index of this machine. Names are loaded when first used; the application needs
``pip install "lsr-search[serve]"``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lsr.serving.app import create_app
    from lsr.serving.interface import ServedIndex
    from lsr.serving.keys import Keys
    from lsr.serving.local import LocalIndex
    from lsr.serving.settings import Limits, Settings

_HOME = {
    "Keys": "lsr.serving.keys",
    "Limits": "lsr.serving.settings",
    "LocalIndex": "lsr.serving.local",
    "ServedIndex": "lsr.serving.interface",
    "Settings": "lsr.serving.settings",
    "create_app": "lsr.serving.app",
}

__all__ = ["Keys", "Limits", "LocalIndex", "ServedIndex", "Settings", "create_app"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'lsr.serving' has no attribute {name!r}")
