"""What a service allows and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass, field

from lsr.serving.keys import Keys


@dataclass(frozen=True)
class Limits:
    """What one request, one client and all of them together may ask for. Times are in seconds.

    Args:
        body_bytes: of a request's body.
        k: results of a query.
        query_characters: of a query's text.
        query_terms: of a query given as term weights.
        filter_characters: of a filter.
        batch: queries, or texts to encode, in one request.
        documents: documents, or ids, in one request.
        concurrency: requests in work or waiting for a thread; more are answered 503.
        connections: open at once; more are closed.
        header_bytes: of a request's line and headers.
        header_seconds: for a request's line and headers to come, or the next request's to begin.
        body_seconds: for a request's body to come.
        stall_seconds: for a client that does not take what it is sent.
        request_seconds: for an answer.
        write_seconds: for a change.
    """

    body_bytes: int = 8 << 20
    k: int = 1_000
    query_characters: int = 10_000
    query_terms: int = 4_096
    filter_characters: int = 10_000
    batch: int = 256
    documents: int = 1_000
    concurrency: int = 128
    connections: int = 1_000
    header_bytes: int = 32 << 10
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    stall_seconds: float = 20.0
    request_seconds: float = 10.0
    write_seconds: float = 300.0


@dataclass(frozen=True)
class Settings:
    """How a service behaves.

    Args:
        keys: who may read and write. Without keys for writing nobody may.
        allowed_hosts: names that requests may call the service by, None for any. On a machine's own
            address this keeps pages of other sites from reaching it under a name of theirs.
        threads: that answer searches.
        page: serve the search page.
    """

    limits: Limits = field(default_factory=Limits)
    keys: Keys = field(default_factory=Keys)
    allowed_hosts: tuple[str, ...] | None = None
    threads: int = 4
    page: bool = True
