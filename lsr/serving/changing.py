"""Changing one index of this machine on behalf of many callers: one change at a time, told without paths."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from scipy import sparse

from lsr.corpus import Document
from lsr.encoders.base import Encoder
from lsr.encoders.external import EXTERNAL
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.index import Index, open_index
from lsr.index.errors import DuplicateId, IndexBusy, MissingId
from lsr.retrieval import ChangeReport, add_documents, delete_documents, update_documents
from lsr.retrieval.index_encoder import index_encoder
from lsr.serving.interface import Change, Conflict, NotFound, Refusal, Unavailable

_log = logging.getLogger("lsr.serving")
_LOOK_AGAIN = 0.05


class IndexChanger:
    """Adds, replaces and deletes documents, and encodes documents. Safe to use from several threads.

    The document side of the encoder is loaded when it is first needed, and kept.

    Args:
        folder: the index.
        name: what messages call it.
        encoder: where the encoder that filled the index lies now; None looks where it lay then.
        options: ``device`` and ``threads``.
        durable: a change returns when the disk has confirmed it.
        patience: seconds to wait for another thread's or process's change to end.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        encoder: str | None = None,
        options: EncoderOptions | None = None,
        durable: bool = True,
        patience: float = 30.0,
    ) -> None:
        self._folder = folder
        self._name = name
        self._source = encoder
        self._options = options or EncoderOptions()
        self._durable = durable
        self._patience = patience
        # Encoders keep notes of the last batch, so one job at a time has them.
        self._lock = threading.Lock()
        self._loaded: tuple[str, Encoder] | None = None

    def add(self, documents: Sequence[Document]) -> Change:
        """Add documents, see `lsr.serving.interface.ServedIndex`."""
        return self._write(add_documents, documents, new=True)

    def update(self, documents: Sequence[Document]) -> Change:
        """Replace documents by id and add new ones."""
        return self._write(update_documents, documents, new=False)

    def delete(self, ids: Sequence[str], *, skip_missing: bool) -> Change:
        """Delete documents by id."""

        def delete() -> ChangeReport:
            return delete_documents(ids, self._folder, skip_missing=skip_missing, durable=self._durable)

        with self._alone():
            return self._done(delete)

    def encode_documents(self, texts: Sequence[str]) -> tuple[sparse.csr_array, Sequence[str]]:
        """Return the weights of texts as documents, and the terms that their columns stand for.

        Under bm25 weights are term frequencies, as in `Encoder.encode_documents`.
        """
        with self._alone(), open_index(self._folder) as index:
            encoder = self._learned(index) or index_encoder(index)
            try:
                return encoder.encode_documents(texts), encoder.vocabulary
            except UserError:
                raise Refusal(
                    f"{self._name} was filled with vectors made elsewhere; it encodes no texts."
                ) from None
            finally:
                # Anyone may ask for this: the words of such texts must not pile up.
                getattr(encoder, "forget_words", lambda: None)()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads out, or refuse where one takes too long."""
        if not self._lock.acquire(timeout=self._patience):
            raise Unavailable(f"The index {self._name} is being changed; try again when that is done.")
        try:
            yield
        finally:
            self._lock.release()

    def _write(
        self, action: Callable[..., ChangeReport], documents: Sequence[Document], *, new: bool
    ) -> Change:
        # Messages name a document by its place in the request.
        placed = [replace(document, location=f"documents[{i}]") for i, document in enumerate(documents)]
        with self._alone():
            with Index(self._folder) as index:
                if new:
                    self._check_new(placed, index)
                texts = any(document.vector is None for document in placed)
                encoder = self._learned(index) if texts else None
            cut_before = int(getattr(encoder, "cut_count", 0))

            def write() -> ChangeReport:
                return action(placed, self._folder, encoder, options=self._options, durable=self._durable)

            change = self._done(write)
            change.cut -= cut_before
            return change

    def _check_new(self, documents: Sequence[Document], index: Index) -> None:
        """Refuse ids that are taken before anything is encoded."""
        ids = [document.id for document in documents]
        seen: set[str] = set()
        for document, number in zip(documents, index.document_numbers(ids).tolist(), strict=True):
            if number >= 0:
                raise Conflict(
                    f"{document.location}: the id {document.id!r} is in the index {self._name} already; "
                    "replace the document with PUT, or delete it first."
                )
            if document.id in seen:
                raise Conflict(
                    f"{document.location}: the id {document.id!r} occurs twice; give every document its own."
                )
            seen.add(document.id)

    def _learned(self, index: Index) -> Encoder | None:
        """Return the model that filled the index; None where words are counted, or vectors come as they are."""
        record = index.manifest.encoder
        if record["settings"].get("kind") in ("bm25", EXTERNAL):
            return None
        if self._loaded is None or self._loaded[0] != record["fingerprint"]:
            try:
                encoder = index_encoder(index, self._source, self._options)
            except UserError as error:
                _log.error("%s: documents cannot be encoded. %s", self._name, error)
                raise Unavailable(
                    f"Documents of {self._name} cannot be encoded now; the log of the service says why."
                ) from None
            self._loaded = record["fingerprint"], encoder
        return self._loaded[1]

    def _done(self, write: Callable[[], ChangeReport]) -> Change:
        """Make a change, waiting for a writer in another process, and tell what it came to."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return _change(write())
            except IndexBusy:
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"The index {self._name} is being changed by another process; try again later."
                    ) from None
                time.sleep(_LOOK_AGAIN)
            except DuplicateId:
                raise Conflict(
                    f"One of these ids has come into the index {self._name} meanwhile; nothing was added."
                ) from None
            except MissingId as error:
                raise NotFound(self._without_paths(error)) from None
            except UserError as error:  # Texts for an index of vectors, or the other way round.
                raise Conflict(self._without_paths(error)) from None

    def _without_paths(self, error: Exception) -> str:
        return str(error).replace(str(self._folder), f"the index {self._name}")


def _change(report: ChangeReport) -> Change:
    notes = []
    for field, (before, after) in report.retyped.items():
        notes.append(
            f"the field {field} was of the type {before} and is {after} now; filters compare it as that."
        )
    if report.merge_problem:
        _log.error("Merging segments of %s failed: %s", report.folder, report.merge_problem)
    return Change(
        added=report.added,
        replaced=report.replaced,
        deleted=report.deleted,
        documents=report.documents,
        empty=report.empty_documents,
        cut=report.cut_documents,
        saturated=report.saturated,
        notes=notes,
    )
