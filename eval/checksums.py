"""Checksums of test collections: of what is in them, however it is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lsr.corpus import Document, Query, ReadReport
from lsr.eval.cache import Cache
from lsr.eval.datasets import Dataset
from lsr.eval.progress import Progress, silent
from lsr.eval.qrels import Qrels


@dataclass(frozen=True, slots=True)
class Checksums:
    """SHA-256, in hex, of a collection's documents, queries and judgements, and how many there are."""

    documents: str
    queries: str
    judgements: str
    document_count: int
    query_count: int
    judgement_count: int
    absent_documents: int = 0
    """Judged documents that the corpus lacks."""

    def as_dict(self) -> dict[str, str | int]:
        """Return the fields by name."""
        return asdict(self)


def checksums(dataset: Dataset, cache: Cache | None = None, progress: Progress = silent) -> Checksums:
    """Return the checksums of a data set, reading it through unless a cache knows those of the same files.

    Of documents id, title and text count, in the order of the corpus; of queries id and text, and of
    judgements all of the judged queries', each sorted by id. So a folder, the same folder compressed,
    and the ir_datasets id of the same collection have the same checksums.
    """
    queries, judgements = _digest(_query_parts(dataset.queries)), _digest(_judgement_parts(dataset.qrels))
    stamp = corpus_stamp(dataset.source)

    def read() -> dict[str, str | int]:
        documents, count, absent = _read_documents(dataset, progress)
        return Checksums(
            documents=documents,
            queries=queries,
            judgements=judgements,
            document_count=count,
            query_count=len(dataset.queries),
            judgement_count=sum(map(len, dataset.qrels.values())),
            absent_documents=absent,
        ).as_dict()

    if cache is None or stamp is None:
        return Checksums(**read())  # type: ignore[arg-type]
    return Checksums(**cache.remember("checksums", {**stamp, "q": queries, "j": judgements}, read))


def _read_documents(dataset: Dataset, progress: Progress) -> tuple[str, int, int]:
    """Return the digest of a corpus, its documents, and how many judged documents it lacks."""
    digest = hashlib.sha256()
    absent = {document_id for judged in dataset.qrels.values() for document_id in judged}
    count = 0
    report = ReadReport()
    with progress(
        f"Reading {dataset.name}", total=dataset.document_count, fraction=lambda: report.fraction
    ) as shown:
        for document in dataset.documents(report):
            _add(digest, _document_parts(document))
            absent.discard(document.id)
            count += 1
            shown.advance()
    return digest.hexdigest(), count, len(absent)


def corpus_stamp(source: str) -> dict[str, Any] | None:
    """Return what tells that a corpus is still the same without reading it, None where nothing does.

    Files tell by path, size and time of change. ir_datasets verifies what it downloads, so an id
    tells, with the size of what was stored; one that was registered on the spot does not.
    """
    path = Path(source)
    if path.is_dir():
        files = sorted(path.glob("corpus.jsonl*"))
        return {
            "files": [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
        }
    import ir_datasets

    known = ir_datasets.registry._registered.get(source)
    if known is None or not type(known.docs_handler()).__module__.startswith("ir_datasets."):
        return None
    counted = known.docs_metadata() if known.has_docs() else {}
    return {"ir_datasets": source, **counted} if counted else None


def _document_parts(document: Document) -> tuple[str, ...]:
    if document.vector is None:
        return document.id, document.title, document.text
    vector = sorted(document.vector.items())
    return document.id, document.title, document.text, repr(vector)


def _query_parts(queries: Iterable[Query]) -> Iterator[tuple[str, ...]]:
    for query in sorted(queries, key=lambda query: query.id):
        yield query.id, query.text, repr(sorted((query.vector or {}).items()))


def _judgement_parts(qrels: Qrels) -> Iterator[tuple[str, ...]]:
    for query_id, judged in sorted(qrels.items()):
        for document_id, score in sorted(judged.items()):
            yield query_id, document_id, str(score)


def _digest(records: Iterable[tuple[str, ...]]) -> str:
    digest = hashlib.sha256()
    for parts in records:
        _add(digest, parts)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, parts: tuple[str, ...]) -> None:
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
