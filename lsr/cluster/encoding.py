"""Encoding: every run of batches becomes a file of term weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.cluster.chunks import Span, read_chunk
from lsr.cluster.executors import Work
from lsr.cluster.planning import Run
from lsr.cluster.reading import Chunk, go_to
from lsr.cluster.repeats import Masks, kept_rows
from lsr.cluster.work_folder import read_json, write_arrays, write_json
from lsr.corpus import Document
from lsr.encoders.base import Encoder
from lsr.encoders.external import ExternalEncoder
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.retrieval.batches import in_batches, text_encoding, vector_encoding


@dataclass(frozen=True)
class Documents:
    """The documents of a job, as reading left them."""

    work: str
    chunks: tuple[Chunk, ...]
    dropped: Masks

    def of(self, spans: Sequence[Span]) -> Iterator[Document]:
        """Yield the documents of some spans, one after the other."""
        for span in spans:
            rows = kept_rows(self.chunks[span.chunk], span.chunk, self.dropped)[span.start : span.stop]
            yield from read_chunk(Path(self.work) / f"{self.chunks[span.chunk].stem}.parquet", rows)


@dataclass(frozen=True)
class EncodeStage:
    """Encodes runs.

    A run leaves ``run-NUMBER.npz`` with its weights and ``run-NUMBER.json``, which says that it is
    done. Where the vocabulary grows with the corpus, each run has one of its own: what the encoder
    knew before it, then the run's terms in order of first occurrence.

    Attributes:
        encoder: name or path; None for vectors from elsewhere with terms of their own.
        fingerprint: that of the encoder where the job was started.
        with_vectors: documents bring their weights.
        grows: the vocabulary grows with the documents.
    """

    documents: Documents
    folder: str
    encoder: str | None
    options: EncoderOptions
    fingerprint: str
    with_vectors: bool
    grows: bool

    def open(self) -> Work:
        """Load the encoder and return what encodes one run."""
        go_to(self.folder)
        encoder = self._load()
        if not self.grows:
            return lambda run: self.encode(run, encoder)
        forget = getattr(encoder, "forget_words", None)
        if forget is None:
            return lambda run: self.encode(run, self._load())

        def anew(run: Run) -> dict[str, Any]:
            forget()
            return self.encode(run, encoder)

        return anew

    def _load(self) -> Encoder:
        if self.encoder is None:
            return ExternalEncoder()
        from lsr.encoders import load_encoder

        encoder = load_encoder(self.encoder, self.options)
        if encoder.fingerprint() != self.fingerprint:
            raise UserError(
                f"{self.encoder} is another encoder on one of the machines than where the job was started (other "
                "weights, tokenizer or settings); put the same files on all of them."
            )
        return encoder

    def encode(self, run: Run, encoder: Encoder) -> dict[str, Any]:
        """Encode a run unless that is done, and return what came of it."""
        path = run_file(Path(self.documents.work), run.number)
        done: dict[str, Any] | None = read_json(path)
        if done is not None:
            return done
        encode = vector_encoding(encoder) if self.with_vectors else text_encoding(encoder)
        known = len(encoder.vocabulary)
        cut = int(getattr(encoder, "cut_count", 0))
        rows: list[sparse.csr_array] = []
        own: list[sparse.csr_array] = []
        for batch in in_batches(self.documents.of(run.spans)):
            rows.append(encode(batch))
            text_terms = None if self.with_vectors else getattr(encoder, "text_terms", None)
            if text_terms is not None:
                own.append(text_terms)
        weights = stack(rows)
        arrays = {"data": weights.data, "indices": weights.indices, "indptr": weights.indptr}
        if own:
            held = stack(own)
            arrays |= {"text_terms": held.indices, "text_term_starts": held.indptr}
        write_arrays(path.with_suffix(".npz"), arrays)
        frequencies = encoder.weighting == "frequency"
        done = {
            "documents": weights.shape[0],
            "empty": int((weights.indptr[1:] == weights.indptr[:-1]).sum()),
            "cut": int(getattr(encoder, "cut_count", 0)) - cut,
            # float32 is read back from JSON as the same number.
            "largest": float(weights.data.max()) if weights.nnz else 0.0,
            "length": int(_lengths(weights).sum(dtype=np.int64)) if frequencies else 0,
            "terms": list(encoder.vocabulary[known:]) if self.grows else None,
        }
        write_json(path, done)
        return {**done, "terms": None}


def stack(rows: Sequence[sparse.csr_array]) -> sparse.csr_array:
    """Return batches under each other, as wide as the widest; each may be wider than those before it."""
    lengths = np.concatenate([np.diff(batch.indptr) for batch in rows])
    return sparse.csr_array(
        (
            np.concatenate([batch.data for batch in rows]),
            np.concatenate([batch.indices for batch in rows]),
            np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)]),
        ),
        shape=(len(lengths), max(batch.shape[1] for batch in rows)),
    )


def _lengths(weights: sparse.csr_array) -> NDArray[np.uint32]:
    """Return the sums of rows as an index keeps them."""
    return np.asarray(weights.sum(axis=1)).astype(np.uint32)


def run_file(work: Path, number: int) -> Path:
    """Return the file that says that a run is encoded; its arrays lie beside it."""
    return work / f"run-{number:06}.json"


def read_run(work: Path, number: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of an encoded run."""
    with np.load(run_file(work, number).with_suffix(".npz"), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
