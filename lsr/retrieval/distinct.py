"""Leaving out documents that occur twice."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from lsr.corpus import Document, ReadReport

# Kilobytes of a table of digests kept in memory; what is more lies in a temporary file, which SQLite
# unlinks as soon as it is made, so that nothing is left behind whatever ends the process.
_CACHE = 32_768


@dataclass
class Distinct:
    """Passes on documents, each once.

    `texts` leaves out documents whose title and text, white space aside, are those of an earlier
    one (a document without text is nobody's copy). `ids` leaves out documents with the id of an
    earlier one and counts them as bad in `report`; without, the index refuses them.
    `same_text` counts the first kind. Memory is bounded: digests of 128 bits are kept on disk.
    """

    report: ReadReport
    texts: bool = False
    ids: bool = False
    same_text: int = 0

    def pass_on(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents that are new."""
        if not (self.texts or self.ids):
            yield from documents
            return
        with closing(sqlite3.connect("", isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=OFF")
            connection.execute(f"PRAGMA cache_size=-{_CACHE}")
            connection.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")
            connection.execute("BEGIN")

            def is_new(kind: bytes, text: str) -> bool:
                digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, person=kind)
                row = (digest.digest(),)
                return connection.execute("INSERT OR IGNORE INTO seen VALUES (?)", row).rowcount > 0

            for document in documents:
                if self.ids and not is_new(b"id", document.id):
                    where = document.location or document.id
                    self.report.bad_document(where, f"the id {document.id!r} occurs twice", skip=True)
                    continue
                if self.texts and document.text and not is_new(b"text", " ".join(document.full_text.split())):
                    self.same_text += 1
                    continue
                yield document
