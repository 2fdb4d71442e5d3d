"""From a corpus to batches of documents and their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from scipy import sparse

from lsr.corpus import Document, ReadOptions, ReadReport, read_corpus
from lsr.encoders.base import Encoder
from lsr.encoders.external import ExternalEncoder
from lsr.errors import UserError
from lsr.index import DocumentRecord

# Texts are encoded this many at a time, or fewer where they are long: memory stays bounded, and an
# encoder has enough of them to sort by length.
BATCH_DOCUMENTS = 2_000
BATCH_CHARACTERS = 8_000_000


def documents_of(
    corpus: Iterable[str | Path] | Iterable[Document], options: ReadOptions | None, report: ReadReport
) -> Iterator[Document]:
    """Return documents, whichever of the two forms the corpus has."""
    if isinstance(corpus, (str, Path)):
        corpus = [corpus]
    entries: Iterator[str | Path | Document] = iter(corpus)
    first = next(entries, None)
    if first is None:
        return iter(())
    if isinstance(first, Document):
        return chain([first], entries)  # type: ignore[arg-type]
    return read_corpus([first, *entries], options, report)  # type: ignore[list-item]


def text_encoding(encoder: Encoder) -> Callable[[Sequence[Document]], sparse.csr_array]:
    """Return a function from documents to the weights of their texts."""

    def encode(batch: Sequence[Document]) -> sparse.csr_array:
        for document in batch:
            if document.vector is not None:
                raise UserError(
                    f"{document.location or document.id}: this document has a vector and those before it have "
                    "none; index documents with vectors and documents without apart."
                )
        return encoder.encode_documents([document.full_text for document in batch])

    return encode


def vector_encoding(encoder: Encoder) -> Callable[[Sequence[Document]], sparse.csr_array]:
    """Return a function from documents to the vectors they came with, over the encoder's vocabulary."""
    external = encoder if isinstance(encoder, ExternalEncoder) else ExternalEncoder(encoder.vocabulary)

    def encode(batch: Sequence[Document]) -> sparse.csr_array:
        vectors = []
        for document in batch:
            where = document.location or document.id
            if document.vector is None:
                raise UserError(
                    f"{where}: this document has no vector and those before it have one; "
                    "index documents with vectors and documents without apart."
                )
            unknown = external.unknown_term(document.vector)
            if unknown is not None:
                raise UserError(
                    f"{where}: the term {unknown!r} is not in the vocabulary of {encoder.name}; "
                    "name the encoder that made the vectors, or leave out --encoder."
                )
            vectors.append(document.vector)
        return external.encode_vectors(vectors)

    return encode


def in_batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Yield documents in the batches that they are encoded in."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if len(batch) >= BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def record(document: Document) -> DocumentRecord:
    """Return a document as an index takes it."""
    return DocumentRecord(
        document.id,
        document.title,
        document.text,
        document.metadata or None,
        document.location,
        document.untyped,
    )
