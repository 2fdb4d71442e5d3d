"""From a corpus to an index."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from lsr.corpus import Document, ReadOptions, ReadReport
from lsr.encoders.base import Encoder
from lsr.encoders.built_in import DEFAULT_ENCODER
from lsr.encoders.external import ExternalEncoder
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.index import IndexWriter
from lsr.index.grid import ImpactBits
from lsr.retrieval.batches import (
    BATCH_CHARACTERS,
    BATCH_DOCUMENTS,
    documents_of,
    in_batches,
    record,
    text_encoding,
    vector_encoding,
)
from lsr.retrieval.distinct import Distinct
from lsr.retrieval.encoded_batches import EncodedBatches, kept_folder


@dataclass(frozen=True)
class BuildReport:
    """What building an index came to. Times are in seconds.

    `resumed_documents` counts those whose weights an interrupted run had encoded, `same_text` those
    left out because an earlier one has the same text, `cut_documents` those longer than the encoder
    reads; `shards` is 0 for an index in one piece; `largest_error` and
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
    shards: int = 0

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
    durable: bool = True,
    progress: Callable[[int], None] | None = None,
) -> BuildReport:
    """Encode a corpus and build an index of it in `folder`; memory stays bounded.

    Args:
        corpus: sources as `lsr.read_corpus` takes them, or documents. Documents with a vector are
            indexed with it; all or none must have one.
        folder: where the index is to be; it appears when all is done, whole.
        encoder: name, path or encoder; None takes ``default-tiny``, or the vectors where documents have
            them. With vectors an encoder serves the queries, and its vocabulary must hold their
            terms.
        options: how the encoder is loaded and run.
        deduplicate: ``text`` leaves out documents whose title and text, white space aside, are those
            of an earlier one.
        resume: keep encoded batches beside `folder` until the index is in place, and take those that
            an interrupted run of the same job left.
        durable: have the disk confirm the index before it appears, see `lsr.index.IndexWriter`.
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
    documents = distinct.pass_on(documents_of(corpus, read_options, report))
    first = next(documents, None)
    if first is None:
        raise UserError("The corpus holds no documents; name a file or folder that does.")
    with_vectors = first.vector is not None
    loaded = choose_encoder(encoder, with_vectors, options)
    # Words that another corpus brought are none of this one's.
    getattr(loaded, "forget_words", lambda: None)()
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
                durable=durable,
            )
        )
        loaded.save_query_side(writer.encoder_folder)
        encode = vector_encoding(loaded) if with_vectors else text_encoding(loaded)
        kept = None
        if resume and not with_vectors:  # Vectors come with the corpus: there is nothing to keep.
            job = {
                "encoder": {**loaded.settings, "fingerprint": description["fingerprint"]},
                "reading": {**asdict(read_options or ReadOptions()), "deduplicate": deduplicate},
                "batches": [BATCH_DOCUMENTS, BATCH_CHARACTERS],
            }
            kept = EncodedBatches(Path(folder), loaded, job)
            stack.callback(kept.close)
        for batch in in_batches(chain([first], documents)):
            before = time.perf_counter()
            weights = kept.encode(batch, encode) if kept else encode(batch)
            encode_seconds += time.perf_counter() - before
            empty += int((weights.indptr[1:] == weights.indptr[:-1]).sum())
            text_terms = None if with_vectors else getattr(loaded, "text_terms", None)
            writer.add(weights, [record(document) for document in batch], text_terms)
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


def choose_encoder(
    encoder: str | Path | Encoder | None, with_vectors: bool, options: EncoderOptions
) -> Encoder:
    """Return the encoder that a corpus is indexed with, loaded, see `build_index`."""
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
