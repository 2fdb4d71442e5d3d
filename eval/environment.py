"""What a figure was computed with: code, libraries, machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import lsr

_LIBRARIES = (
    "numpy", "scipy", "numba", "ranx", "ir-datasets", "torch", "transformers", "tokenizers",
    "sentence-transformers", "faiss-cpu", "pyserini", "PyStemmer",
)  # fmt: skip
# The packages whose code decides what an index holds, and what searching it finds.
_INDEXING_PACKAGES = ("composition", "corpus", "encoders", "retrieval")


@cache
def indexing_code() -> str:
    """Return a digest of the code that decides what our indexes hold: corpus, encoders, index."""
    import lsr.index

    package = Path(lsr.__file__).parent
    return _code_digest([*(package / name for name in _INDEXING_PACKAGES), _home(lsr.index)])


@cache
def ranking_code() -> str:
    """Return a digest of the code that decides what our systems find: that of indexes, and the systems."""
    import lsr.eval.systems

    return hashlib.sha256(
        f"{indexing_code()} {_code_digest([_home(lsr.eval.systems)])}".encode()
    ).hexdigest()[:16]


def _home(module: ModuleType) -> Path:
    return Path(str(module.__file__)).parent


def _code_digest(folders: list[Path]) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{folder.name}/{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def code_version() -> dict[str, Any]:
    """Return the version of this program, the commit of a checkout, and the digest of its code."""
    return {"lsr-search": lsr.__version__, **_commit(), "ranking_code": ranking_code()}


def _commit() -> dict[str, Any]:
    checkout = Path(os.path.realpath(lsr.__file__)).parent.parent
    if not (checkout / ".git").exists():
        return {}
    try:
        commit = _git(checkout, "rev-parse", "HEAD")
        changed = bool(_git(checkout, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit, "changed_since": changed}


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


@cache
def library_versions() -> dict[str, str]:
    """Return the versions of those libraries that are installed and matter."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


@cache
def machine() -> dict[str, Any]:
    """Return the machine in words: processor, cores, memory, system, and a GPU that torch has seen."""
    found: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name(0)
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, OSError, ValueError):
        return None
