"""The engines that compare_engines.py compares, by name; packages load when an engine is used."""

from __future__ import annotations

from collections.abc import Callable

from engines.approximate import Kannolo, Seismic
from engines.base import Engine
from engines.block_max import Bmp
from engines.lucene import Lucene
from engines.own import Lsr
from engines.plain import PlainLoop, SpladeIndex
from engines.sindi import Sindi

ENGINES: dict[str, Callable[[], Engine]] = {
    "lsr": Lsr,
    "SINDI, float": lambda: Sindi(False),
    "SINDI, 8 bits": lambda: Sindi(True),
    "bmp, block 8": lambda: Bmp(8),
    "bmp, block 16": lambda: Bmp(16),
    "bmp, block 32": lambda: Bmp(32),
    "pyseismic-lsr": Seismic,
    "kannolo, HNSW": Kannolo,
    "splade-index": SpladeIndex,
    "plain Numba loop": PlainLoop,
    "Lucene, impacts": Lucene,
}
