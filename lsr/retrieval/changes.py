"""Adding documents to an index, replacing and deleting them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from scipy import sparse

from lsr.corpus import Document, ReadOptions, ReadReport
from lsr.encoders.base import Encoder
from lsr.encoders.external import ExternalEncoder
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.index import Compaction, IndexEditor, StoredDocument
from lsr.retrieval.batches import documents_of, in_batches, record, text_encoding, vector_encoding
from lsr.retrieval.distinct import Distinct
from lsr.retrieval.index_encoder import index_encoder


@dataclass(frozen=True)
class ChangeReport:
    """What changing an index came to. Times are in seconds.

    `added` counts documents that are new, `replaced` those that took another's place, `documents` all
    that are live afterwards. `saturated` counts term weights above the index's impact grid, stored as
    its top; `retyped` names fields whose type is another now, the old and the new, since filters go by
    the new one; `merged` counts segments that were merged, and `merge_problem` says why that failed,
    where it did: the change itself is in place.
    """

    folder: str
    added: int
    replaced: int
    deleted: int
    documents: int
    segments: int
    empty_documents: int
    cut_documents: int
    bad_documents: int
    saturated: int
    merged: int
    merge_problem: str | None
    retyped: dict[str, tuple[str, str]]
    seconds: float


def add_documents(
    corpus: Iterable[str | Path] | Iterable[Document],
    folder: str | Path,
    encoder: str | Path | Encoder | None = None,
    *,
    options: EncoderOptions | None = None,
    read_options: ReadOptions | None = None,
    read_report: ReadReport | None = None,
    durable: bool = True,
    progress: Callable[[int], None] | None = None,
) -> ChangeReport:
    """Encode a corpus and add it to the index in `folder`; all of it becomes visible at once.

    Args:
        corpus: sources as `lsr.read_corpus` takes them, or documents.
        encoder: where the encoder that filled the index lies now; None looks where it lay then.
        options: ``device``, ``threads``, ``batch_size``; what changes the output is the index's.
        durable: return when the disk has confirmed the change.
        progress: called with the number of documents done since the last call.

    Raises:
        UserError: for mistakes in the corpus, and an encoder that did not fill the index.
        lsr.index.IndexProblem: for an id that is in the index already, and where the folder is no
            index or another process is changing it. The index is as it was then.
    """
    return _write("add", corpus, folder, encoder, options, read_options, read_report, durable, progress)


def update_documents(
    corpus: Iterable[str | Path] | Iterable[Document],
    folder: str | Path,
    encoder: str | Path | Encoder | None = None,
    *,
    options: EncoderOptions | None = None,
    read_options: ReadOptions | None = None,
    read_report: ReadReport | None = None,
    durable: bool = True,
    progress: Callable[[int], None] | None = None,
) -> ChangeReport:
    """Encode a corpus, and put its documents in the place of those with the same ids.

    As `add_documents`; documents with new ids are added. Where the corpus itself has an id twice, the
    last form counts.
    """
    return _write("update", corpus, folder, encoder, options, read_options, read_report, durable, progress)


def delete_documents(
    ids: Iterable[str], folder: str | Path, *, skip_missing: bool = False, durable: bool = True
) -> ChangeReport:
    """Delete documents by id, all at once.

    Raises:
        lsr.index.IndexProblem: for an id that the index lacks, unless `skip_missing`; nothing is
            deleted then.
    """
    start = time.perf_counter()
    with _editor(folder, None, None, durable) as editor:
        editor.delete(list(ids), skip_missing=skip_missing)
        return _commit(editor, start)


def compact_index(folder: str | Path, *, refresh: bool = False, durable: bool = True) -> Compaction:
    """Make one segment of all, without the deleted documents; see `lsr.index.IndexEditor.compact`."""
    with IndexEditor(folder, durable=durable) as editor:
        return editor.compact(refresh=refresh)


def _write(
    kind: Literal["add", "update"],
    corpus: Iterable[str | Path] | Iterable[Document],
    folder: str | Path,
    encoder: str | Path | Encoder | None,
    options: EncoderOptions | None,
    read_options: ReadOptions | None,
    read_report: ReadReport | None,
    durable: bool,
    progress: Callable[[int], None] | None,
) -> ChangeReport:
    start = time.perf_counter()
    report = read_report if read_report is not None else ReadReport()
    skip_bad = bool(read_options and read_options.skip_bad)
    with _editor(folder, encoder, options, durable) as editor:
        read = documents_of(corpus, read_options, report)
        documents = Distinct(report, ids=skip_bad and kind == "add").pass_on(read)
        first = next(documents, None)
        if first is None:
            raise UserError("The corpus holds no documents; name a file or folder that does.")
        with_vectors = first.vector is not None
        loaded = index_encoder(editor.index, encoder, options, with_vectors=with_vectors)
        if with_vectors and not isinstance(loaded, ExternalEncoder):
            raise UserError(f"The corpus holds term weights, and {loaded.name} counts words itself.")
        if with_vectors and editor.needs_text_terms:
            raise UserError(
                f"{editor.folder} was filled from texts, and {first.location or first.id} has a vector; "
                "index documents with vectors apart."
            )
        encode = vector_encoding(loaded) if with_vectors else text_encoding(loaded)
        empty = replaced = 0
        for batch in in_batches(chain([first], documents)):
            weights = encode(batch)
            empty += int((weights.indptr[1:] == weights.indptr[:-1]).sum())
            text_terms = getattr(loaded, "text_terms", None) if editor.needs_text_terms else None
            records = [record(document) for document in batch]
            if kind == "add":
                editor.add(weights, records, text_terms)
            else:
                replaced += editor.update(weights, records, text_terms)
            if progress:
                progress(len(batch))
        return _commit(
            editor,
            start,
            vocabulary=loaded.vocabulary,
            replaced=replaced,
            empty=empty,
            cut=int(getattr(loaded, "cut_count", 0)),
            bad=report.bad,
        )


def _commit(
    editor: IndexEditor,
    start: float,
    *,
    vocabulary: Sequence[str] | None = None,
    replaced: int = 0,
    empty: int = 0,
    cut: int = 0,
    bad: int = 0,
) -> ChangeReport:
    before, types = editor.index.document_count, editor.index.fields
    changes = editor.commit(vocabulary)
    retyped: dict[str, tuple[str, str]] = {
        name: (kind, editor.index.fields[name])
        for name, kind in types.items()
        if editor.index.fields.get(name, kind) != kind
    }
    after = editor.index.document_count
    return ChangeReport(
        folder=str(editor.folder),
        added=after - before if vocabulary is not None else 0,
        replaced=replaced,
        deleted=before - after if vocabulary is None else 0,
        documents=after,
        segments=len(editor.index.segments),
        empty_documents=empty,
        cut_documents=cut,
        bad_documents=bad,
        saturated=changes.saturated,
        merged=changes.merged,
        merge_problem=changes.merge_problem,
        retyped=retyped,
        seconds=time.perf_counter() - start,
    )


def _editor(
    folder: str | Path, encoder: str | Path | Encoder | None, options: EncoderOptions | None, durable: bool
) -> IndexEditor:
    """Open an index for changing, with what deleting from the oldest format needs."""

    def text_terms_of(documents: Sequence[StoredDocument]) -> sparse.csr_array:
        loaded = index_encoder(editor.index, encoder, options)
        texts = [Document(d.id, d.text or "", d.title).full_text for d in documents]
        found: sparse.csr_array = loaded.own_terms(texts)  # type: ignore[attr-defined]
        return found

    # The function reads `editor` when it is called, not now.
    editor = IndexEditor(folder, durable=durable, text_terms_of=text_terms_of)
    return editor
