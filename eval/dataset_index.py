"""The index of a data set: one that is there already, or one built for the evaluation."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.eval.datasets import Dataset
from lsr.eval.progress import Progress

if TYPE_CHECKING:
    from lsr.corpus import Document
    from lsr.encoders.base import Encoder
    from lsr.retrieval import BuildReport


def choose_folder(index: str | Path | None, stack: ExitStack) -> Path:
    """Return the folder of the index; a temporary one, gone when `stack` closes, where none is named."""
    if index is not None:
        return Path(index)
    # On Windows a file that is still mapped cannot be removed; that must not spoil the figures.
    temporary = tempfile.TemporaryDirectory(prefix="lsr-eval-", ignore_cleanup_errors=True)
    return Path(stack.enter_context(temporary)) / "index"


def build_for(
    dataset: Dataset,
    folder: Path,
    encoder: str | Path | Encoder | None,
    options: EncoderOptions,
    progress: Progress,
    *,
    store_texts: bool,
) -> tuple[BuildReport, tuple[str, ...]]:
    """Index a data set's documents; return the report and what a reader of the figures should know."""
    from lsr.corpus import ReadReport
    from lsr.retrieval import build_index

    absent = {document_id for judged in dataset.qrels.values() for document_id in judged}
    relevant = sum(score > 0 for judged in dataset.qrels.values() for score in judged.values())
    if not relevant:
        raise UserError(f"The data set {dataset.name} has no relevant document: no judgement is above 0.")
    judged_documents = len(absent)
    reading = ReadReport()
    with progress(
        f"Indexing {dataset.name}", total=dataset.document_count, fraction=lambda: reading.fraction
    ) as shown:
        report = build_index(
            _without(dataset.documents(reading), absent),
            folder,
            encoder,
            options=options,
            store_texts=store_texts,
            progress=shown.advance,
        )
    notes = []
    if absent:
        notes.append(
            f"{len(absent):,} of {judged_documents:,} judged documents are not in the corpus; "
            f"the relevant ones among them count as not retrieved"
        )
    if report.cut_documents:
        notes.append(f"{report.cut_documents:,} documents are longer than the encoder reads and were cut")
    return report, tuple(notes)


def _without(documents: Iterator[Document], absent: set[str]) -> Iterator[Document]:
    """Yield the documents and take each one's id out of `absent`."""
    for document in documents:
        absent.discard(document.id)
        yield document
