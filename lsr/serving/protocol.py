"""HTTP connections that cannot be held open by a client that is slow, silent or never stops.

uvicorn limits how long a connection rests between requests, not how long a request may take to come or
an answer to go, nor how large headers may be. This protocol does. A client that is late with a request
is told 408 and hung up on; one that does not take its answer is hung up on.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lsr.serving.settings import Limits

# A client that takes its answer slower than this, in bytes a second, is held to be stalling.
_LEAST_RATE = 16_384


def _held_by_system(descriptor: int) -> int:
    """Return the bytes that the system holds for a connection, 0 where it does not tell."""
    if sys.platform == "win32":
        return 0
    import fcntl
    import termios

    return int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


class GuardedProtocol(HttpToolsProtocol):
    """One connection. Limits are those that the application's lifespan put into its state."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._limits: Limits = self.app_state.get("limits", Limits())
        self._waiting: asyncio.TimerHandle | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head_bytes = 0
        self._refused = False

    # A request comes

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, unless there are too many connections."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            self._refuse(503, b"Too many connections")
        else:
            self._wait(self._limits.header_seconds)

    def data_received(self, data: bytes) -> None:
        """Take what came, if headers are not too large by now."""
        if self._refused:
            return
        if self._in_head:
            if self._head_bytes > self._limits.header_bytes:
                self._refuse(431, b"Headers too large")
                return
            self._head_bytes += len(data)
        super().data_received(data)
        if self._waiting is None and not self._answering and not self.transport.is_closing():
            # Something came that is no request yet.
            self._wait(self._limits.header_seconds)

    def on_message_begin(self) -> None:
        """Give a request's headers their time."""
        super().on_message_begin()
        self._wait(self._limits.header_seconds)

    def on_headers_complete(self) -> None:
        """Give the body its time, and start to answer."""
        self._in_head, self._head_bytes = False, 0
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self._limits.header_bytes:
            self._refuse(431, b"Headers too large")
            return
        self._wait(self._limits.body_seconds)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop waiting: the request is here."""
        self._stop_waiting()
        self._in_head = True
        if not self._refused:
            super().on_message_complete()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._waiting = self.loop.call_later(seconds, self._waited)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _waited(self) -> None:
        self._waiting = None
        if self._answering and self.pipeline:
            # The late request waits behind one that is being answered, and is not read meanwhile.
            self._wait(self._limits.body_seconds)
        elif self._answering and self.cycle.response_started:
            self.transport.abort()
        else:
            self._refuse(408, b"Request timeout")

    def _refuse(self, status: int, reason: bytes) -> None:
        """Answer without the application, and hang up."""
        self._refused = True
        self._stop_waiting()
        if not self.transport.is_closing():
            body = b'{"error":"%s."}' % reason
            self.transport.write(
                b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
                b"connection: close\r\n\r\n%s" % (status, reason, len(body), body)
            )
            self.transport.close()
            self._leave()

    # An answer goes

    def on_response_complete(self) -> None:
        """See to it that what is written gets taken."""
        super().on_response_complete()
        self._leave()

    def timeout_keep_alive_handler(self) -> None:
        """Hang up on a connection that rests."""
        super().timeout_keep_alive_handler()
        self._leave()

    def _leave(self) -> None:
        """Begin to watch that what is written is taken, if there is anything left of it."""
        if self._leaving is None and self.transport.get_write_buffer_size():
            self._watch()

    def _watch(self) -> None:
        self._leaving = self.loop.call_later(self._limits.stall_seconds, self._watched, self._untaken())

    def _watched(self, before: int) -> None:
        """Hang up on a client that took too little since the last look."""
        self._leaving = None
        if not self.transport.get_write_buffer_size():
            return
        if before - self._untaken() < _LEAST_RATE * self._limits.stall_seconds:
            self.transport.abort()
        else:
            self._watch()

    def _untaken(self) -> int:
        """Return the bytes that are written and not yet with the client.

        The system holds some megabytes and takes more only when a good part of them has gone.
        """
        held = 0
        with contextlib.suppress(OSError, ValueError):  # It may be closed.
            held = _held_by_system(self.transport.get_extra_info("socket").fileno())
        return self.transport.get_write_buffer_size() + held

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        super().connection_lost(exc)
