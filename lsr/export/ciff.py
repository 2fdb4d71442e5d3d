"""The Common Index File Format (Lin et al., SIGIR 2020): postings for PISA, BMP and other engines.

A header, a posting list for every term in the order of the terms' bytes, and a record for every
document, each a protocol buffer with its length before it. Term frequencies are impact codes.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.errors import UserError
from lsr.export.engine import Engine
from lsr.export.names import engine_names
from lsr.export.source import integer_weights
from lsr.export.varints import bytes_field, delimited, integer_field, pair_messages

# Small, since bmp scales queries down to weights of 32 at most.
QUERY_SCALE = 32
_MOST_DOCUMENTS = (1 << 31) - 1
_DOCUMENTS_AT_ONCE = 50_000


class Ciff(Engine):
    """One file, ``index.ciff.gz``."""

    name = "ciff"
    title = "CIFF"

    def write(self, folder: Path) -> None:
        """Write the file. Memory holds one posting list and eight bytes a document.

        Raises:
            UserError: where there are more documents than the format can number.
        """
        index = self.source.index
        if index.document_count > _MOST_DOCUMENTS:
            raise UserError(f"CIFF numbers documents up to {_MOST_DOCUMENTS:,}; export parts of the corpus.")
        if self.source.levels > 255:
            self.notes.append("impacts have 16 bits; bmp takes 8.")
        names = engine_names(self.source.terms)
        order = sorted(range(len(names)), key=lambda term: names[term].encode())
        numbers = self._numbers()
        lengths = np.zeros(index.document_count, np.int64)
        held = index.document_frequencies(np.arange(len(names)))
        for term in range(len(names)):
            documents, codes = self._postings(term, numbers)
            lengths[documents] += codes
        with gzip.open(folder / "index.ciff.gz", "wb", compresslevel=1) as file:
            file.write(delimited(self._header(int((held > 0).sum()), lengths)))
            for term in order:
                if not held[term]:
                    continue
                documents, codes = self._postings(term, numbers)
                file.write(delimited(_posting_list(names[term], documents, codes)))
            for first in range(0, index.document_count, _DOCUMENTS_AT_ONCE):
                ids = self._ids(first, numbers)
                part = lengths[first : first + len(ids)].tolist()
                for i, (id_, length) in enumerate(zip(ids, part, strict=True), first):
                    record = integer_field(1, i) + bytes_field(2, id_.encode()) + integer_field(3, length)
                    file.write(delimited(record))
                if self.source.progress:
                    self.source.progress(len(ids))

    def _numbers(self) -> list[NDArray[np.int64]]:
        """Return for each segment the exported number of each document, -1 for deleted ones."""
        numbers, count = [], 0
        for segment in self.source.index.segments:
            own = np.full(segment.entry.documents, -1, np.int64)
            live = slice(None) if segment.live is None else segment.live
            own[live] = np.arange(count, count + segment.entry.live)
            numbers.append(own)
            count += segment.entry.live
        return numbers

    def _postings(
        self, term: int, numbers: list[NDArray[np.int64]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the exported numbers of the live documents that hold a term, and its codes there."""
        parts: list[tuple[NDArray[np.int64], NDArray[Any]]] = []
        for segment, own in zip(self.source.index.segments, numbers, strict=True):
            documents, codes = segment.postings.documents_of(term)
            exported = own[documents]
            kept = exported >= 0
            parts.append((exported[kept], codes[kept]))
        return (
            np.concatenate([documents for documents, _ in parts] or [np.empty(0, np.int64)]),
            np.concatenate([codes for _, codes in parts] or [np.empty(0, np.int64)]).astype(np.int64),
        )

    def _header(self, lists: int, lengths: NDArray[np.int64]) -> bytes:
        count, total = len(lengths), int(lengths.sum())
        description = (
            f"lsr export: impacts of {self.source.index.manifest.encoder['name']} as integer codes, "
            f"{self.source.step!r} each"
        )
        return (
            integer_field(1, 1)
            + integer_field(2, lists)
            + integer_field(3, count)
            + integer_field(4, lists)
            + integer_field(5, count)
            + integer_field(6, total)
            + b"\x39"  # field 7, a double
            + struct.pack("<d", total / count if count else 0.0)
            + bytes_field(8, description.encode())
        )

    def _ids(self, first: int, numbers: list[NDArray[np.int64]]) -> list[str]:
        """Return the ids of documents by exported number."""
        found: list[str] = []
        last = first + _DOCUMENTS_AT_ONCE
        for segment, own in zip(self.source.index.segments, numbers, strict=True):
            local = np.flatnonzero((own >= first) & (own < last))
            if len(local):
                ids = segment.store.ids(local.tolist())
                found += [ids[number] for number in local.tolist()]
        return found

    def query(self, weights: sparse.csr_array, k: int) -> str:
        """Return the terms of a query, each as often as it weighs, as BMP's and PISA's query files have them."""
        names = engine_names(self.source.terms)
        terms, _ = integer_weights(weights, QUERY_SCALE)
        return " ".join(" ".join([names[term]] * weight) for term, weight in terms)

    def guide(self) -> str:
        """Return how the file is loaded and how a query is put."""
        return f"""\
## Load

    gunzip index.ciff.gz
    ciff2bmp -b 8 -c index.ciff -o index.bmp          # bmp
    ciff2pisa --ciff-file index.ciff --output index   # PISA

## What is stored

Term frequencies are the stored impacts as integer codes, 1 to {self.source.levels}; a code is worth {self.source.step!r}.
Posting lists are in the order of the terms' bytes, documents in the order of the index. A document's length is the
sum of its codes. Score with a sum of query weight times frequency, not with BM25.

## Query

Whole query weights, each weight times {QUERY_SCALE} / the heaviest, rounded (`queries.tsv`, where --queries was given, has
each term as often as it weighs). bmp takes 8-bit impacts and fewer than 65,536 terms, scales queries to weights of
32 at most, and adds scores in 16 bits.
"""


def _posting_list(term: str, documents: NDArray[np.int64], codes: NDArray[np.int64]) -> bytes:
    gaps = np.diff(documents, prepend=0)
    return (
        bytes_field(1, term.encode())
        + integer_field(2, len(documents))
        + integer_field(3, int(codes.sum()))
        + pair_messages(4, gaps, codes)
    )
