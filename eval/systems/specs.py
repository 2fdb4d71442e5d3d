"""Systems as they are typed: ``bm25``, ``dense:MODEL``, ``rrf:bm25,default``, ``bm25:CROSS_ENCODER``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lsr.encoders.options import EncoderOptions, setting_value
from lsr.errors import UserError
from lsr.eval.systems.base import DerivedSystem, System
from lsr.eval.systems.feedback import Rm3Options, Rm3System
from lsr.eval.systems.fusion import RRF_K, FusedSystem
from lsr.eval.systems.passages import PassageOptions, PassageSystem
from lsr.eval.systems.reranking import RERANK_DEPTH, RerankedSystem
from lsr.eval.systems.sparse import SparseSystem

_LABEL = re.compile(r"([A-Za-z0-9][\w .+()-]*)=(.+)", re.DOTALL)
_RM3 = "+rm3"


@dataclass(frozen=True)
class _Parts:
    """A specification taken apart: ``LABEL=HEAD,ITEM,...,NAME=VALUE,...``."""

    spec: str
    label: str | None
    head: str
    items: tuple[str, ...]
    options: dict[str, Any]

    def take(self, name: str, kind: type, default: Any) -> Any:
        """Return an option and take it out; raise `UserError` where it is of another kind."""
        value = self.options.pop(name, default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if value is not None and not isinstance(value, kind):
            raise UserError(f"{self.spec}: {name}={value} is not a {_KINDS[kind]}.")
        return value

    def finish(self, what: str, known: str) -> None:
        """Raise `UserError` where options are left."""
        for name in self.options:
            raise UserError(f"{self.spec}: {what} has no option {name!r}; it has {known}.")


_KINDS = {int: "whole number", float: "number", str: "word"}


def _taken_apart(spec: str) -> _Parts:
    text = spec.strip()
    head = text.split(",", 1)[0]
    match = _LABEL.fullmatch(head)
    label = None
    if match:
        label, head = match.group(1).strip(), match.group(2)
    items, options = [], {}
    for part in text.split(",")[1:]:
        name, equals, value = part.partition("=")
        if equals:
            options[name.strip()] = setting_value(value.strip())
        else:
            items.append(part.strip())
    if not head.strip():
        raise UserError(f"The system {spec!r} has no name; give bm25, default, a folder, dense:MODEL, ...")
    return _Parts(spec, label, head.strip(), tuple(items), options)


def parse_system(spec: str, base: EncoderOptions | None = None) -> System:
    """Return the system that a specification asks for; see ``lsr eval --help`` for the forms.

    `base` is how encoders and models are loaded and run, where the specification does not say.

    Raises:
        UserError: for a mistake in it, and where it needs a library that is not installed.
    """
    base = base or EncoderOptions()
    parts = _taken_apart(spec)
    if parts.items:
        raise UserError(f"{spec}: {parts.items[0]!r} is no option of the form NAME=VALUE.")
    passages = _passages(parts)
    label = parts.label or _default_label(parts)
    system = _plain_system(parts, label, base)
    return system if passages is None else PassageSystem(system, passages, label, spec)


def _plain_system(parts: _Parts, label: str, base: EncoderOptions) -> System:
    kind, colon, target = parts.head.partition(":")
    if parts.head in ("lucene-bm25", "lucene-bm25" + _RM3):
        from lsr.eval.systems.lucene import LuceneBm25System

        rm3 = _rm3(parts) if parts.head.endswith(_RM3) else None
        k1, b = parts.take("k1", float, 0.9), parts.take("b", float, 0.4)
        parts.finish(parts.head, "k1, b" + (", and RM3's documents, terms, original" if rm3 else ""))
        return LuceneBm25System(label, k1=k1, b=b, rm3=rm3, spec=parts.spec)
    if kind == "dense" and colon:
        from lsr.eval.systems.dense import DenseSystem

        max_length = parts.take("max_length", int, base.max_length)
        parts.finish("a dense system", "max_length, passages, aggregate")
        return DenseSystem(label, target, replace(base, max_length=max_length), parts.spec)
    if kind == "lucene-impact" and colon:
        from lsr.eval.systems.lucene import LuceneImpactSystem

        inner = SparseSystem(label, target, _encoder_options(parts, base), parts.spec)
        return LuceneImpactSystem(label, inner, parts.spec)
    if parts.head == "bm25" + _RM3:
        rm3 = _rm3(parts)
        return Rm3System(label, _encoder_options(parts, base), rm3, parts.spec)
    return SparseSystem(label, parts.head, _encoder_options(parts, base), parts.spec)


def _encoder_options(parts: _Parts, base: EncoderOptions) -> EncoderOptions:
    """Take an encoder's options; those that are not every encoder's are its own settings."""
    idf = parts.take("idf", str, base.idf)
    if idf not in (None, "training", "corpus"):
        raise UserError(f"{parts.spec}: idf={idf} is not among training, corpus.")
    long_documents = parts.take("long_documents", str, base.long_documents)
    if long_documents not in ("cut", "windows"):
        raise UserError(f"{parts.spec}: long_documents={long_documents} is not among cut, windows.")
    max_length = parts.take("max_length", int, base.max_length)
    max_terms = parts.take("max_terms", int, base.max_terms)
    return replace(
        base,
        idf=idf,
        long_documents=long_documents,
        max_length=max_length,
        max_terms=max_terms,
        settings={**base.settings, **parts.options},
    )


def _rm3(parts: _Parts) -> Rm3Options:
    usual = Rm3Options()
    return Rm3Options(
        documents=parts.take("documents", int, usual.documents),
        terms=parts.take("terms", int, usual.terms),
        original=parts.take("original", float, usual.original),
    )


def _passages(parts: _Parts) -> PassageOptions | None:
    value = parts.options.pop("passages", None)
    aggregate = parts.take("aggregate", str, "max")
    if value is None:
        if aggregate != "max":
            raise UserError(f"{parts.spec}: aggregate is for passages; add passages=150/75.")
        return None
    words, _, stride = str(value).partition("/")
    if not words.isdecimal() or (stride and not stride.isdecimal()):
        raise UserError(
            f"{parts.spec}: passages={value} is not WORDS or WORDS/STRIDE, as in passages=150/75."
        )
    return PassageOptions(int(words), int(stride) if stride else max(int(words) // 2, 1), aggregate)


def _default_label(parts: _Parts) -> str:
    kind, colon, target = parts.head.partition(":")
    if colon and kind in ("dense", "lucene-impact"):
        name = Path(target).name
        label = name if kind == "dense" else f"lucene-impact {name}"
    else:
        label = Path(parts.head).name if Path(parts.head).exists() else parts.head
    _, _, typed = parts.spec.partition(",")
    return f"{label} {typed.replace(',', ' ')}".strip() if typed else label


def parse_fusion(spec: str, known: Sequence[System | DerivedSystem]) -> FusedSystem:
    """Return the fusion ``[LABEL=]rrf:A,B[,k=60]`` or ``weighted:A,B[,split=dev]`` of known systems."""
    parts = _taken_apart(spec)
    method, _, first = parts.head.partition(":")
    if method not in ("rrf", "weighted") or not first:
        raise UserError(
            f"The fusion {spec!r} is not of the form rrf:SYSTEM,SYSTEM or weighted:SYSTEM,SYSTEM."
        )
    labels = [find_label(name, known, spec) for name in (first, *parts.items)]
    if len(set(labels)) < len(labels):
        raise UserError(f"The fusion {spec!r} names a system twice.")
    k = parts.take("k", int, RRF_K) if method == "rrf" else RRF_K
    split = parts.take("split", str, None) if method == "weighted" else None
    parts.finish(f"the fusion {method}", "k" if method == "rrf" else "split")
    label = parts.label or f"{method} {'+'.join(labels)}"
    return FusedSystem(label, "rrf" if method == "rrf" else "weighted", labels, spec, k=k, split=split)


def parse_reranking(
    spec: str, known: Sequence[System | DerivedSystem], base: EncoderOptions | None = None
) -> RerankedSystem:
    """Return the re-ranking ``[LABEL=]SYSTEM:MODEL[,depth=100][,max_length=512]`` of a known system."""
    parts = _taken_apart(spec)
    part, _, model = parts.head.partition(":")
    if not model:
        raise UserError(
            f"The re-ranking {spec!r} is not of the form SYSTEM:CROSS_ENCODER, as in bm25:my-model."
        )
    label = find_label(part, known, spec)
    base = base or EncoderOptions()
    depth = parts.take("depth", int, RERANK_DEPTH)
    if depth < 1:
        raise UserError(f"{spec}: depth={depth} is not at least 1.")
    options = replace(base, max_length=parts.take("max_length", int, base.max_length))
    parts.finish("a re-ranking", "depth, max_length")
    return RerankedSystem(parts.label or f"{label} > {Path(model).name}", label, model, depth, options, spec)


def find_label(name: str, known: Sequence[System | DerivedSystem], spec: str) -> str:
    """Return the label of the system that a name means: its label, its specification, or how one begins."""
    for field in ("label", "spec"):
        if found := [system.label for system in known if getattr(system, field) == name]:
            return found[0]
    begun = {
        system.label for system in known if system.label.startswith(name) or system.spec.startswith(name)
    }
    if len(begun) == 1:
        return begun.pop()
    several = f"{name!r} begins several systems" if begun else f"there is no system {name!r}"
    raise UserError(
        f"{spec}: {several}; the systems are {', '.join(system.label for system in known) or 'none'}. "
        "Name one with --system LABEL=..."
    )


def check_labels(systems: Sequence[System | DerivedSystem]) -> None:
    """Raise `UserError` where two systems have one label."""
    seen: set[str] = set()
    for system in systems:
        if system.label in seen:
            raise UserError(
                f"Two systems are called {system.label!r}; name one of them: LABEL={system.spec}."
            )
        seen.add(system.label)
