"""Test collections: documents, judged queries and judgements, from a BEIR folder or by an ir_datasets id."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lsr.errors import UserError
from lsr.eval.conventions import Conventions, conventions
from lsr.eval.qrels import Qrels, read_qrels

if TYPE_CHECKING:
    from lsr.corpus import Document, Query, ReadReport
    from lsr.eval.suites import Member

DEFAULT_SPLIT = "test"

_CORPUS_NAMES = ("corpus.jsonl", "corpus.jsonl.gz", "corpus.jsonl.zst")
_QUERIES_NAMES = ("queries.jsonl", "queries.jsonl.gz", "queries.jsonl.zst")


@dataclass(frozen=True, slots=True)
class Dataset:
    """A test collection: only its judged queries, as those alone can be scored."""

    name: str
    documents: Callable[[ReadReport], Iterator[Document]]
    """Opens the corpus anew at each call; the report counts as reading goes on."""
    document_count: int | None
    """Documents of the corpus where that is known without reading it."""
    queries: list[Query]
    qrels: Qrels
    """The judgements of `queries`, no others."""
    notes: tuple[str, ...] = ()
    """What a reader of the figures should know."""
    source: str = ""
    """What it was loaded from: a folder or an ir_datasets id."""
    split: str | None = None
    catalogue_id: str | None = None
    """The ir_datasets id, also of a folder that stands for it."""
    group: str | None = None
    """What it is averaged into, counting as one data set."""
    all_queries: int | None = None
    """How many judged queries there are where not all are taken."""

    @property
    def conventions(self) -> Conventions:
        """How figures of this collection are computed."""
        return conventions(self.catalogue_id or self.name)

    def limited(self, count: int | None) -> Dataset:
        """Return the data set with at most `count` queries, evenly spread, its name saying so."""
        if count is None or count >= len(self.queries):
            return self
        step = len(self.queries) / count
        queries = [self.queries[int(place * step)] for place in range(count)]
        return replace(
            self,
            name=f"{self.name} ({count:,} of {len(self.queries):,} queries)",
            queries=queries,
            qrels={query.id: self.qrels[query.id] for query in queries},
            notes=(
                *self.notes,
                f"--limit {count}: {count:,} of {len(self.queries):,} judged queries, all documents",
            ),
            all_queries=len(self.queries),
            catalogue_id=self.catalogue_id or self.name,
        )

    @property
    def file_name(self) -> str:
        """The name in a form that is one part of a path."""
        return file_name(self.name)


def file_name(name: str) -> str:
    """Return a name with everything but letters, digits, ``.``, ``_`` and ``-`` replaced by ``-``."""
    return (
        "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in name).strip(".-") or "-"
    )


def load_dataset(name_or_path: str | Path, split: str | None = None) -> Dataset:
    """Load a test collection.

    `name_or_path` is a BEIR folder (``corpus.jsonl``, ``queries.jsonl``, both plain, ``.gz`` or
    ``.zst``, and ``qrels/SPLIT.tsv``, the split being ``test`` unless given) or an ir_datasets id
    such as ``beir/scifact/test``, to which a `split` is appended.
    """
    path = Path(name_or_path)
    if path.is_dir():
        return _load_beir_folder(path, split)
    if path.exists():
        raise UserError(
            f"The data set {path} is a file; name the BEIR folder that holds corpus.jsonl, queries.jsonl "
            f"and qrels/."
        )
    from lsr.eval.ir_datasets_source import load_ir_dataset

    return load_ir_dataset(str(name_or_path), split)


def load_member(member: Member, split: str | None = None) -> Dataset:
    """Load one collection of a suite, or one named alone."""
    dataset = load_dataset(member.source, split)
    catalogue_id = dataset.catalogue_id or member.catalogue_id
    name = dataset.name
    if member.group and not name.startswith("beir/"):
        name = f"{member.group}/{name}"  # A folder is named by its forum alone.
    return replace(dataset, name=name, catalogue_id=catalogue_id, group=member.group)


def other_split(dataset: Dataset, split: str) -> Dataset | None:
    """Return the queries of another split of the same collection; None where it has none of that name."""
    path = Path(dataset.source)
    try:
        if path.is_dir():
            return load_dataset(path, split)
        stem, _, last = dataset.source.rpartition("/")
        base = stem if last in ("test", "dev", "train", "validation") else dataset.source
        return load_dataset(base, split)
    except UserError:
        return None


def judged_dataset(
    name: str,
    documents: Callable[[ReadReport], Iterator[Document]],
    queries: list[Query],
    qrels: Qrels,
    *,
    document_count: int | None = None,
    source: str = "",
    split: str | None = None,
    catalogue_id: str | None = None,
) -> Dataset:
    """Return the data set of those queries that are judged, saying which judgements have no query."""
    judged = [query for query in queries if query.id in qrels]
    if not judged:
        raise UserError(
            f"The data set {name} has no judged query: none of its queries occurs in its judgements."
        )
    notes: tuple[str, ...] = ()
    missing = len(qrels) - len(judged)
    if missing > 0:
        notes = (f"{missing:,} judged queries have no text and are left out",)
    return Dataset(
        name=name,
        documents=documents,
        document_count=document_count,
        queries=judged,
        qrels={query.id: qrels[query.id] for query in judged},
        notes=notes,
        source=source or name,
        split=split,
        catalogue_id=catalogue_id,
    )


def _load_beir_folder(folder: Path, split: str | None) -> Dataset:
    from lsr.corpus import read_corpus, read_queries

    corpus = _one_of(folder, _CORPUS_NAMES)
    queries = read_queries(_one_of(folder, _QUERIES_NAMES))
    qrels = read_qrels(_qrels_path(folder, split or DEFAULT_SPLIT))
    name = folder.resolve().name
    if split not in (None, DEFAULT_SPLIT):
        name = f"{name}/{split}"
    return judged_dataset(
        name,
        lambda report: read_corpus([corpus], report=report),
        queries,
        qrels,
        source=str(folder),
        split=split or DEFAULT_SPLIT,
    )


def _one_of(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UserError(
        f"The folder {folder} is not a BEIR data set: it has no {names[0]} (or .gz, .zst); "
        f"it needs corpus.jsonl, queries.jsonl and qrels/test.tsv."
    )


def _qrels_path(folder: Path, split: str) -> Path:
    path = folder / "qrels" / f"{split}.tsv"
    if path.is_file():
        return path
    splits = sorted(other.stem for other in (folder / "qrels").glob("*.tsv"))
    if not splits:
        raise UserError(
            f"The folder {folder} is not a BEIR data set: it has no judgements, qrels/{split}.tsv."
        )
    raise UserError(
        f"The data set {folder} has no judgements for {split!r} (qrels/{split}.tsv); "
        f"choose with --split: {', '.join(splits)}."
    )
