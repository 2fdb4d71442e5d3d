"""Readers: anything that holds texts becomes a stream of documents."""

from __future__ import annotations

from lsr.corpus.document import Document
from lsr.corpus.options import ReadOptions
from lsr.corpus.queries import Query, read_queries
from lsr.corpus.report import ReadReport
from lsr.corpus.sources import estimate_total, read_corpus

__all__ = [
    "Document",
    "Query",
    "ReadOptions",
    "ReadReport",
    "estimate_total",
    "read_corpus",
    "read_queries",
]
