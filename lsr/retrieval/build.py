"""From a corpus to an index."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from scipy import sparse

from lsr.corpus import Document, ReadOptions, ReadReport, read_corpus
from lsr.encoders.base import Encoder
from lsr.encoders.external import ExternalEncoder
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.index import DocumentRecord, IndexWriter
from lsr.index.grid import ImpactBits
from lsr.retrieval.distinct import Distinct
from lsr.retrieval.encoded_batches import EncodedBatches, kept_folder

DEFAULT_ENCODER = "bm25"

# Texts are encoded this many at a time, or fewer where they are long: memory stays bounded, and an
# encoder has enough of them to sort by length.
_BATCH_DOCUMENTS = 2_000
_BATCH_CHARACTERS = 8_000_000


@dataclass(frozen=True)
class BuildReport:
    """What building an index came to. Times are in seconds.

    `resumed_documents` counts those whose weights an interrupted run had encoded, `same_text` those
    left out because an earlier one has the same text, `cut_documents` those longer than the encoder
    reads; `largest_error` and
    `relative_error` state what storing impacts on a grid of integers cost (the largest difference
    from the float weights, and the mean difference as a part of the mean weight).
    """

    folder: str
    encoder: str
    documents: int
    empty_documents: int
    postings: int
    vocabulary_size: int
    seconds: float
    encode_seconds: float
    index_bytes: int
    cut_documents: int
    bad_documents: int
    same_text: int
    resumed_documents: int
    impact_bits: int
    largest_error: float
    relative_error: float

    @property
    def terms_per_document(self) -> float:
        """Mean number of distinct terms a document."""
        return self.postings / self.documents if self.documents else 0.0


def build_index(
    corpus: Iterable[str | Path] | Iterable[Document],
    folder: str | Path,
    encoder: str | Path | Encoder | None = None,
    *,
    options: EncoderOptions | None = None,
    read_options: ReadOptions | None = None,
    read_report: ReadReport | None = None,
    overwrite: bool = False,
    impact_bits: ImpactBits = 8,
    store_texts: bool = True,
    deduplicate: Literal["text"] | None = None,
    resume: bool = False,
    progress: Callable[[int], None] | None = None,
) -> BuildReport:
    """Encode a corpus and build an index of it in `folder`; memory stays bounded.

    Args:
        corpus: sources as `lsr.read_corpus` takes them, or documents. Documents with a vector are
            indexed with it; all or none must have one.
        folder: where the index is to be; it appears when all is done, whole.
        encoder: name, path or encoder; None takes ``bm25``, or the vectors where documents have
            them. With vectors an encoder serves the queries, and its vocabulary must hold their
            terms.
        options: how the encoder is loaded and run.
        deduplicate: ``text`` leaves out documents whose title and text, white space aside, are those
            of an earlier one.
        resume: keep encoded batches beside `folder` until the index is in place, and take those that
            an interrupted run of the same job left.
        progress: called with the number of documents done since the last call.

    Raises:
        UserError: for mistakes in the corpus or the encoder, and where what is to be resumed is
            another job.
        lsr.index.IndexProblem: where the folder is taken, or ids occur twice.
    """
    start = time.perf_counter()
    options = options or EncoderOptions()
    report = read_report if read_report is not None else ReadReport()
    skip_bad = bool(read_options and read_options.skip_bad)
    distinct = Distinct(report, texts=deduplicate == "text", ids=skip_bad)
    documents = distinct.pass_on(_documents(corpus, read_options, report))
    first = next(documents, None)
    if first is None:
        raise UserError("The corpus holds no documents; name a file or folder that does.")
    with_vectors = first.vector is not None
    loaded = _encoder(encoder, with_vectors, options)
    bm25 = (loaded.settings["k1"], loaded.settings["b"]) if loaded.weighting == "frequency" else None
    description = {
        "name": str(loaded.name),
        "fingerprint": loaded.fingerprint(),
        "settings": loaded.settings,
    }
    encode_seconds = 0.0
    empty = 0
    with ExitStack() as stack:
        writer = stack.enter_context(
            IndexWriter(
                folder,
                encoder=description,
                bm25=bm25,
                impact_bits=impact_bits,
                overwrite=overwrite,
                store_texts=store_texts,
            )
        )
        loaded.save_query_side(writer.encoder_folder)
        encode = _vector_encoding(loaded) if with_vectors else _text_encoding(loaded)
        kept = None
        if resume and not with_vectors:  # Vectors come with the corpus: there is nothing to keep.
            job = {
                "encoder": {**loaded.settings, "fingerprint": description["fingerprint"]},
                "reading": {**asdict(read_options or ReadOptions()), "deduplicate": deduplicate},
                "batches": [_BATCH_DOCUMENTS, _BATCH_CHARACTERS],
            }
            kept = EncodedBatches(Path(folder), loaded, job)
            stack.callback(kept.close)
        for batch in _batches(chain([first], documents)):
            before = time.perf_counter()
            weights = kept.encode(batch, encode) if kept else encode(batch)
            encode_seconds += time.perf_counter() - before
            empty += int((weights.indptr[1:] == weights.indptr[:-1]).sum())
            text_terms = None if with_vectors else getattr(loaded, "text_terms", None)
            writer.add(weights, [_record(document) for document in batch], text_terms)
            if progress:
                progress(len(batch))
        manifest = writer.commit(loaded.vocabulary)
        count, postings = writer.document_count, writer.posting_count
        # Batches of whichever job are of no more use now.
        if kept:
            kept.remove()
        else:
            shutil.rmtree(kept_folder(Path(folder)), ignore_errors=True)
    quantisation = manifest.segments[0].quantisation
    return BuildReport(
        folder=str(folder),
        encoder=str(loaded.name),
        documents=count,
        empty_documents=empty,
        postings=postings,
        vocabulary_size=len(loaded.vocabulary),
        seconds=time.perf_counter() - start,
        encode_seconds=encode_seconds,
        index_bytes=sum(file.bytes for file in manifest.files),
        cut_documents=int(getattr(loaded, "cut_count", 0)),
        bad_documents=report.bad,
        same_text=distinct.same_text,
        resumed_documents=kept.taken if kept else 0,
        impact_bits=impact_bits,
        largest_error=quantisation["largest_error"],
        relative_error=quantisation["relative_error"],
    )


def _documents(
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


def _encoder(encoder: str | Path | Encoder | None, with_vectors: bool, options: EncoderOptions) -> Encoder:
    if encoder is None and with_vectors:
        return ExternalEncoder()
    if encoder is None or isinstance(encoder, (str, Path)):
        from lsr.encoders import load_encoder

        encoder = load_encoder(encoder or DEFAULT_ENCODER, options)
    if with_vectors and encoder.weighting == "frequency":
        raise UserError(
            f"The corpus holds term weights, and {encoder.name} counts words itself; leave out --encoder."
        )
    return encoder


def _text_encoding(encoder: Encoder) -> Callable[[Sequence[Document]], sparse.csr_array]:
    def encode(batch: Sequence[Document]) -> sparse.csr_array:
        for document in batch:
            if document.vector is not None:
                raise UserError(
                    f"{document.location or document.id}: this document has a vector and those before it have "
                    "none; index documents with vectors and documents without apart."
                )
        return encoder.encode_documents([document.full_text for document in batch])

    return encode


def _vector_encoding(encoder: Encoder) -> Callable[[Sequence[Document]], sparse.csr_array]:
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


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if len(batch) >= _BATCH_DOCUMENTS or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _record(document: Document) -> DocumentRecord:
    return DocumentRecord(
        document.id,
        document.title,
        document.text,
        document.metadata or None,
        document.location,
        document.untyped,
    )
