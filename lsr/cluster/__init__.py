"""Building and serving an index on several machines, with Ray.

The steps of building are functions of files on storage that all machines see; an executor says where
they run. Names are loaded when first used; Ray itself needs ``pip install "lsr-search[ray]"``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lsr.cluster.building import build_sharded_index
    from lsr.cluster.executors import LocalExecutor
    from lsr.cluster.ray_executor import RayExecutor

_HOME = {
    "LocalExecutor": "lsr.cluster.executors",
    "RayExecutor": "lsr.cluster.ray_executor",
    "build_sharded_index": "lsr.cluster.building",
}

__all__ = ["LocalExecutor", "RayExecutor", "build_sharded_index"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'lsr.cluster' has no attribute {name!r}")
