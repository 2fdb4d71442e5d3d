"""The documentation inside the running Python: docstrings of its standard library.

Source files are parsed, never imported: importing the whole library would open windows, print
poems and take a minute. What is written in C has no source there, and is asked through
`inspect` in modules that are safe to import.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from lsr.corpus.document import Document
from lsr.corpus.report import ReadReport

# fmt: off
_SKIPPED_FOLDERS = frozenset((
    "test", "tests", "idle_test", "idlelib", "lib2to3", "site-packages", "dist-packages", "__pycache__",
    "ensurepip", "turtledemo", "lib-dynload", "pydoc_data",
))
_C_MODULES = (
    "builtins", "array", "binascii", "bisect", "cmath", "collections", "datetime", "decimal", "errno",
    "functools", "gc", "heapq", "io", "itertools", "marshal", "math", "operator", "os", "pickle",
    "random", "select", "signal", "socket", "sqlite3", "struct", "sys", "threading", "time", "types",
    "unicodedata", "weakref", "zlib",
)
# fmt: on


def list_sources() -> list[tuple[str, Path]]:
    """Return (module name, source file) of the standard library's public modules, sorted by name."""
    root = Path(sysconfig.get_path("stdlib"))
    sources = []
    for parent, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS and name.isidentifier())
        package = Path(parent).relative_to(root).parts
        for name in sorted(names):
            if not name.endswith(".py"):
                continue
            stem = name.removesuffix(".py")
            parts = package if stem == "__init__" and package else (*package, stem)
            if all(_is_public(part) or part == "__future__" for part in parts):
                sources.append((".".join(parts), Path(parent, name)))
    return sorted(sources)


def read_python_docs(sources: list[tuple[str, Path]], report: ReadReport) -> Iterator[Document]:
    """Yield a document for every module, class, function and method that has a docstring.

    Only public names count. The id is the dotted name, the title that name with its signature,
    ``metadata["kind"]`` one of module, class, function, method. The order is that of the names of
    modules and, inside one, of the source; then come the modules written in C.
    """
    seen: set[str] = set()
    for module, path in sources:
        try:
            data = path.read_bytes()
            report.bytes_read += len(data)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes in old modules
                tree = ast.parse(data)
        except (OSError, SyntaxError, ValueError):
            # Some files of the library are broken on purpose, or for other versions.
            report.passed_over += 1
            continue
        for document in _from_source(tree, module, path):
            if document.id not in seen:
                seen.add(document.id)
                yield document
    for module in _C_MODULES:
        try:
            loaded = importlib.import_module(module)
        except ImportError:
            continue
        for document in _from_module(loaded):
            if document.id not in seen:
                seen.add(document.id)
                yield document


def _from_source(tree: ast.Module, module: str, path: Path) -> Iterator[Document]:
    if text := _docstring(tree):
        yield _document(module, module, text, "module", module, f"{path}:1")
    yield from _from_body(tree.body, module, module, path, in_class=False)


def _from_body(
    body: list[ast.stmt], prefix: str, module: str, path: Path, *, in_class: bool
) -> Iterator[Document]:
    for node in body:
        if isinstance(node, (ast.If, ast.Try)):
            # Definitions that depend on the platform or on a C twin being there.
            branches = [*node.body, *node.orelse]
            if isinstance(node, ast.Try):
                branches += [statement for handler in node.handlers for statement in handler.body]
            yield from _from_body(branches, prefix, module, path, in_class=in_class)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and _is_public(
            node.name
        ):
            name = f"{prefix}.{node.name}"
            location = f"{path}:{node.lineno}"
            text = _docstring(node)
            if isinstance(node, ast.ClassDef):
                if text:
                    yield _document(name, name, text, "class", module, location)
                yield from _from_body(node.body, name, module, path, in_class=True)
            elif text:
                title = f"{name}({ast.unparse(node.args)})"
                yield _document(name, title, text, "method" if in_class else "function", module, location)


def _from_module(module: ModuleType) -> Iterator[Document]:
    name = module.__name__
    if text := inspect.cleandoc(module.__doc__ or ""):
        yield _document(name, name, text, "module", name, name)
    for member_name, member in sorted(vars(module).items()):
        if not _is_public(member_name):
            continue
        if inspect.isclass(member):
            if _home(member) in (name, f"_{name}"):
                yield from _from_class(member, f"{name}.{member_name}", name)
        elif inspect.isbuiltin(member) and (text := inspect.cleandoc(member.__doc__ or "")):
            dotted = f"{name}.{member_name}"
            yield _document(dotted, dotted + _signature(member), text, "function", name, name)


def _from_class(cls: type, prefix: str, module: str) -> Iterator[Document]:
    if text := inspect.cleandoc(cls.__doc__ or ""):
        yield _document(prefix, prefix, text, "class", module, module)
    for member_name, member in sorted(vars(cls).items()):
        documented = inspect.ismethoddescriptor(member) or inspect.isbuiltin(member)
        if _is_public(member_name) and documented and (text := inspect.cleandoc(member.__doc__ or "")):
            dotted = f"{prefix}.{member_name}"
            yield _document(dotted, dotted + _signature(member), text, "method", module, module)


def _document(name: str, title: str, text: str, kind: str, module: str, location: str) -> Document:
    # A few docstrings show control characters and surrogates that no index can store.
    text = text.replace("\0", "").encode("utf-8", "replace").decode()
    title = title.replace("\0", "").encode("utf-8", "replace").decode()
    return Document(
        id=name, text=text, title=title, metadata={"kind": kind, "module": module}, location=location
    )


def _docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return ast.get_docstring(node) or ""


def _signature(member: Any) -> str:
    try:
        return str(inspect.signature(member))
    except (ValueError, TypeError):
        return "()"


def _home(cls: type) -> str:
    return getattr(cls, "__module__", None) or ""


def _is_public(name: str) -> bool:
    return not name.startswith("_")
