"""Collections of the ir_datasets catalogue, by id (``beir/scifact/test``, ``vaswani``).

MacAvaney et al., "Simplified Data Wrangling with ir_datasets", SIGIR 2021.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator
from typing import Any

from lsr.corpus.document import Document
from lsr.corpus.options import ReadOptions
from lsr.corpus.records import checked_id, storable_text
from lsr.corpus.report import BadDocument, ReadReport
from lsr.errors import UserError

# Longer strings are further texts of the document, not properties of it.
_METADATA_LENGTH = 500


def find_dataset(name: str) -> Any | None:
    """Return the ir_datasets data set called `name`, or None when there is none."""
    import ir_datasets

    logging.getLogger("ir_datasets").addFilter(_is_news)
    try:
        return ir_datasets.load(name)
    except (KeyError, ValueError):
        return None


def _is_news(record: logging.LogRecord) -> bool:
    # Every failed try is logged at length, and the last one raised; that one is told, as a sentence.
    return not record.getMessage().lower().startswith("download ")


def similar_ids(name: str) -> list[str]:
    """Return up to three ids of the catalogue that are close to `name`."""
    import ir_datasets

    return difflib.get_close_matches(name, list(ir_datasets.registry), n=3, cutoff=0.75)


def count_documents(name: str) -> int | None:
    """Return the number of documents where ir_datasets knows it without a download."""
    dataset = find_dataset(name)
    if dataset is None or not dataset.has_docs():
        return None
    try:
        known = dataset.docs_metadata().get("count")
    except Exception:  # the catalogue's metadata is a nicety that must not stop a job
        return None
    return int(known) if known else None


def read_dataset(name: str, options: ReadOptions, report: ReadReport) -> Iterator[Document]:
    """Yield the documents of an ir_datasets data set, which downloads what it needs.

    Raises `UserError` when it has no documents or they cannot be fetched.
    """
    dataset = find_dataset(name)
    if dataset is None or not dataset.has_docs():
        raise UserError(f"{name}: this ir_datasets id has no documents; take the id of its collection.")
    documents = iter(_fetched(name, dataset))
    for number, record in enumerate(documents, 1):
        location = f"{name}:{number}"
        try:
            document = _document(record, location)
        except BadDocument as bad:
            report.bad_document(location, str(bad), skip=options.skip_bad)
            continue
        yield document


def _fetched(name: str, dataset: Any) -> Iterator[Any]:
    try:
        yield from dataset.docs_iter()
    except Exception as error:
        # Downloads, archives and parsers of some seventy sources: there is no common class.
        first = (str(next(iter(error.args), "")).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{name}: ir_datasets could not provide its documents ({first}); check the network connection "
            f"and, for collections that need a licence, https://ir-datasets.com/{name.split('/')[0]}.html."
        ) from error


def _document(record: Any, location: str) -> Document:
    title = getattr(record, "title", "") or ""
    title = storable_text(title, "title").strip()
    text = storable_text(record.default_text(), "text")
    # default_text() begins with the title where there is one; `Document` puts it there itself.
    text = text.lstrip().removeprefix(title).lstrip()
    return Document(
        id=checked_id(record.doc_id, "doc_id"),
        text=text,
        title=title,
        metadata=_metadata(record, text),
        location=location,
    )


def _metadata(record: Any, text: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for name in getattr(record, "_fields", ()):
        value = getattr(record, name)
        if name in ("doc_id", "title") or value in ("", None):
            continue
        if isinstance(value, (int, float)):
            metadata[name] = value
        elif isinstance(value, str) and len(value) <= _METADATA_LENGTH and value.strip() not in text:
            metadata[name] = storable_text(value, name)
    return metadata
