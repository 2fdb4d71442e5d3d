"""An index's postings in the forms that other engines take, and searches that those engines answer.

What is exported are the stored impacts: the integer codes of the index's grid, or the values they
stand for, so that an engine ranks what this index ranks. Names are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lsr.export.exporting import ExportReport, export_index, load_into_engine
    from lsr.export.searching import EngineSearcher

_HOME = {
    "EngineSearcher": "lsr.export.searching",
    "ExportReport": "lsr.export.exporting",
    "export_index": "lsr.export.exporting",
    "load_into_engine": "lsr.export.exporting",
}

__all__ = ["EngineSearcher", "ExportReport", "export_index", "load_into_engine"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'lsr.export' has no attribute {name!r}")
