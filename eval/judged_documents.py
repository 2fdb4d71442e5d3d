"""Judged documents: those a corpus lacks, and the texts of some."""

from __future__ import annotations

from collections.abc import Collection

from lsr.corpus import Document, ReadReport
from lsr.errors import UserError
from lsr.eval.datasets import Dataset


def check_relevant(dataset: Dataset) -> None:
    """Refuse judgements that call nothing relevant."""
    if not any(score > 0 for judged in dataset.qrels.values() for score in judged.values()):
        raise UserError(f"The data set {dataset.name} has no relevant document: no judgement is above 0.")


def texts_of(dataset: Dataset, wanted: Collection[str]) -> dict[str, Document]:
    """Return documents of the corpus by id, in one pass over it; ids that it lacks are left out."""
    found: dict[str, Document] = {}
    if not wanted:
        return found
    left = set(wanted)
    for document in dataset.documents(ReadReport()):
        if document.id in left:
            left.discard(document.id)
            found[document.id] = document
            if not left:
                break
    return found
