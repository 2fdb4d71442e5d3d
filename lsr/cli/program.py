"""The name that a person has to type for this program."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def program() -> str:
    """Return ``lsr``, or the path it was started by where a shell would not find it."""
    started = Path(sys.argv[0])
    if started.stem != "lsr" or not started.exists():
        return "lsr"
    found = shutil.which("lsr")
    if found and Path(found).resolve() == started.resolve():
        return "lsr"
    relative = os.path.relpath(started)
    return relative if len(relative) < len(str(started)) else str(started)
