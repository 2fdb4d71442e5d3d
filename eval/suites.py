"""Names for whole suites of test collections, and where each collection lies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lsr.errors import UserError

CQADUPSTACK = "cqadupstack"

_FORUMS = (
    "android", "english", "gaming", "gis", "mathematica", "physics", "programmers", "stats", "tex", "unix",
    "webmasters", "wordpress",
)  # fmt: skip
_FORUM_IDS = tuple(f"beir/{CQADUPSTACK}/{forum}" for forum in _FORUMS)

# Touché is version 2, whose 49 queries and 2,214 judgements are those of BEIR's own archive.
_BEIR_13 = (
    "beir/trec-covid",
    "beir/nfcorpus/test",
    "beir/nq",
    "beir/hotpotqa/test",
    "beir/fiqa/test",
    "beir/arguana",
    "beir/webis-touche2020/v2",
    "beir/dbpedia-entity/test",
    "beir/scidocs",
    "beir/fever/test",
    "beir/climate-fever",
    "beir/scifact/test",
    "beir/quora/test",
)
_NANO = (
    "arguana", "climate-fever", "dbpedia-entity", "fever", "fiqa", "hotpotqa", "msmarco", "nfcorpus", "nq",
    "quora", "scidocs", "scifact", "webis-touche2020",
)  # fmt: skip

SUITES: dict[str, tuple[str, ...]] = {
    "beir": (*_BEIR_13, *_FORUM_IDS),
    "beir-13": _BEIR_13,
    "beir-small": (
        "beir/nfcorpus/test",
        "beir/scifact/test",
        "beir/arguana",
        "beir/scidocs",
        "beir/fiqa/test",
    ),
    CQADUPSTACK: _FORUM_IDS,
    "nano-beir": tuple(f"nano-beir/{name}" for name in _NANO),
    "msmarco-dev": ("msmarco-passage/dev/small",),
    "trec-dl": ("msmarco-passage/trec-dl-2019/judged", "msmarco-passage/trec-dl-2020/judged"),
    "trec-dl-2019": ("msmarco-passage/trec-dl-2019/judged",),
    "trec-dl-2020": ("msmarco-passage/trec-dl-2020/judged",),
}
"""Suites by name, each a list of ir_datasets ids."""

DESCRIPTIONS = {
    "beir": "the 13 sets below and CQADupStack",
    "beir-13": "the 13 sets that published averages are over",
    "beir-small": "the five of them below 60,000 documents",
    CQADUPSTACK: "its 12 forums, averaged to one figure",
    "nano-beir": "13 sets of 50 queries and a few thousand documents",
    "msmarco-dev": "MS MARCO passages, the 6,980 dev queries",
    "trec-dl": "TREC deep learning 2019 and 2020, passages (also trec-dl-2019, trec-dl-2020)",
}


@dataclass(frozen=True, slots=True)
class Member:
    """One collection to evaluate: a BEIR folder or an ir_datasets id."""

    source: str
    group: str | None = None
    """What it is averaged into, counting as one collection: CQADupStack's forums."""
    catalogue_id: str | None = None
    """The ir_datasets id that a folder found under ``--data`` stands for."""


def expand(names: Sequence[str], data: Path | None = None) -> list[Member]:
    """Return the collections that names stand for: suites, ir_datasets ids and BEIR folders.

    With `data`, a collection of BEIR whose folder lies there under its BEIR name (``scifact``,
    ``webis-touche2020``, ``cqadupstack/android``) is that folder. A folder of the working directory
    that has a suite's name is the folder.

    Raises:
        UserError: where two collections have one name.
    """
    members: list[Member] = []
    for name in names:
        if name in SUITES and not Path(name).is_dir():
            members += [_found(source, data) for source in SUITES[name]]
        else:
            members.append(_found(name, data))
    counts = Counter(_name(member) for member in members)
    for name, count in counts.most_common(1):
        if count > 1:
            raise UserError(
                f"{count} of the data sets are called {name!r} and would write the same files; "
                f"evaluate them one at a time."
            )
    return members


def _name(member: Member) -> str:
    path = Path(member.source)
    name = path.resolve().name if path.is_dir() else member.source
    return f"{member.group}/{name}" if member.group else name


def _found(source: str, data: Path | None) -> Member:
    group = CQADUPSTACK if source in _FORUM_IDS else None
    if data is None or Path(source).is_dir():
        return Member(source, group)
    suite, _, rest = source.partition("/")
    parts = (rest or suite).split("/")
    if suite in ("beir", "nano-beir") or not rest:
        name = "/".join(parts[:2]) if parts[0] == CQADUPSTACK else parts[0]
        folder = data / suite / name if suite == "nano-beir" else data / name
        if folder.is_dir():
            return Member(str(folder), group, source if rest else None)
    return Member(source, group)
