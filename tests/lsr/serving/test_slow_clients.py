"""Clients that are slow, silent, too many or too much; over real connections."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from stub_index import StubIndex

from lsr.serving import Limits, Settings, create_app

LIMITS = Limits(
    header_seconds=0.5,
    body_seconds=0.6,
    stall_seconds=0.5,
    header_bytes=4_000,
    connections=60,
    request_seconds=5,
)
GET = b"GET /v1/indexes/stub/search?q=x HTTP/1.1\r\nHost: x\r\n\r\n"
Serve = Callable[..., Any]


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        yield connection


def until_closed(connection: socket.socket) -> bytes:
    """Return all that comes before the service hangs up."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def answer_of(connection: socket.socket) -> tuple[int, bytes]:
    """Return the status and body of one answer that has a length."""
    content = b""
    while b"\r\n\r\n" not in content:
        part = connection.recv(65_536)
        assert part, content
        content += part
    head, _, body = content.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    while len(body) < length:
        body += connection.recv(65_536)
    return int(head.split()[1]), body


def is_well(port: int) -> bool:
    with connected(port) as connection:
        connection.sendall(GET)
        return answer_of(connection)[0] == 200


def test_requests_that_come_too_slowly(serve: Serve) -> None:
    def drip(connection: socket.socket, pieces: list[bytes], pause: float) -> None:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
        except OSError:
            pass

    head = b"POST /v1/indexes/stub/search HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    slow: dict[str, tuple[list[bytes], float]] = {
        "silent": ([], 0),
        "headers one by one": ([head, *[b"X-A: b\r\n"] * 60], 0.05),
        "one byte at a time": ([bytes([byte]) for byte in GET], 0.05),
        "empty lines": ([b"\r\n"] * 60, 0.05),
        "no end of the headers": ([GET[:-2]], 0),
        "no body": ([head + b"Content-Length: 10\r\n\r\n"], 0),
        "body one by one": ([head + b"Content-Length: 90\r\n\r\n", *[b"x"] * 60], 0.05),
        "chunks one by one": (
            [head + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n"] * 60],
            0.05,
        ),
    }
    with serve(create_app({"stub": StubIndex()}, Settings(LIMITS))) as port:
        seen: dict[str, tuple[bytes, float]] = {}

        def attack(name: str) -> None:
            pieces, pause = slow[name]
            with connected(port) as connection:
                start = time.monotonic()
                sender = threading.Thread(target=drip, args=(connection, pieces, pause))
                sender.start()
                seen[name] = until_closed(connection), time.monotonic() - start
                sender.join()

        threads = [threading.Thread(target=attack, args=(name,)) for name in slow]
        for thread in threads:
            thread.start()
        assert is_well(port)
        for thread in threads:
            thread.join()
        assert is_well(port)
    for name in slow:
        answer, seconds = seen[name]
        # Whoever is sending at that moment may not get to read the answer.
        assert answer.startswith(b"HTTP/1.1 408 ") or (not answer and slow[name][1]), name
        assert 0.4 < seconds < 4, name


def test_headers_that_do_not_end_or_are_too_large(serve: Serve) -> None:
    with serve(create_app({"stub": StubIndex()}, Settings(LIMITS))) as port:
        for request in (
            b"GET /" + b"a" * 5_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 5_000 + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2_000 + b"\r\n",
        ):
            with connected(port) as connection:
                connection.sendall(request)
                assert until_closed(connection).startswith(b"HTTP/1.1 431 ")
        with connected(port) as connection, pytest.raises(OSError):
            connection.sendall(GET[:-2])
            for _ in range(10_000):
                connection.sendall(b"X: " + b"a" * 1_000)
        for broken in (
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"\x00" * 100,
        ):
            with connected(port) as connection:
                connection.sendall(broken)
                assert until_closed(connection).startswith(b"HTTP/1.1 400 ")
        assert is_well(port)


def reader(port: int) -> socket.socket:
    """Return a connection that asks and holds little of what comes."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.settimeout(10)
    connection.connect(("127.0.0.1", port))
    connection.sendall(GET)
    return connection


def test_clients_that_do_not_take_their_answers(serve: Serve) -> None:
    size = 20_000_000
    index = StubIndex(text="x" * size)
    with serve(create_app({"stub": index}, Settings(LIMITS))) as port:
        stuck = [reader(port) for _ in range(3)]
        assert [connection.recv(12) for connection in stuck] == [b"HTTP/1.1 200"] * 3
        slow = reader(port)
        taken = 0
        start = time.monotonic()
        while time.monotonic() < start + 2:
            taken += len(slow.recv(65_536))
            time.sleep(0.005)
        # Those that stopped were hung up on meanwhile, the one that goes on taking was not.
        for connection in stuck:
            assert len(until_closed(connection)) < size / 2
            connection.close()
        taken += len(until_body(slow, size - taken))
        assert taken >= size
        slow.close()
        index.text = "short"
        assert is_well(port)


def until_body(connection: socket.socket, size: int) -> bytes:
    """Return the next `size` bytes or more."""
    content = bytearray()
    while len(content) < size:
        part = connection.recv(1 << 20)
        assert part
        content += part
    return bytes(content)


def test_connections_are_kept_and_requests_may_queue(serve: Serve) -> None:
    with serve(create_app({"stub": StubIndex()}, Settings(LIMITS))) as port, connected(port) as connection:
        for _ in range(3):
            connection.sendall(GET)
            assert answer_of(connection)[0] == 200
            time.sleep(0.1)
        connection.sendall(GET * 5)
        got = b""
        while got.count(b"HTTP/1.1 200") < 5 or not got.endswith(b"}"):
            got += connection.recv(65_536)
        assert until_closed(connection) == b""  # at rest for too long


def test_many_clients_at_once(serve: Serve) -> None:
    index = StubIndex()
    with serve(create_app({"stub": index}, Settings(Limits(), threads=4))) as port:
        answers: list[int] = []

        def ask() -> None:
            with connected(port) as connection:
                for _ in range(20):
                    connection.sendall(GET)
                    answers.append(answer_of(connection)[0])

        threads = [threading.Thread(target=ask) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [200] * 1_000
    assert index.searches == 1_000


def test_more_connections_than_there_may_be(serve: Serve) -> None:
    with serve(create_app({"stub": StubIndex()}, Settings(LIMITS))) as port:
        kept = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(100)]
        first = [connection.recv(16) for connection in kept[60:]]
        assert first.count(b"HTTP/1.1 503 Too") >= 38
        for connection in kept[:60]:
            until_closed(connection)
            connection.close()
        assert is_well(port)
        for connection in kept[60:]:
            connection.close()


def test_more_requests_than_are_taken_on(serve: Serve) -> None:
    gate = threading.Event()
    index = StubIndex(lambda: gate.wait(5) and None)
    limits = Limits(concurrency=4, request_seconds=5)
    with serve(create_app({"stub": index}, Settings(limits, threads=2))) as port:
        answers: list[tuple[int, bytes]] = []

        def ask() -> None:
            with connected(port) as connection:
                connection.sendall(GET)
                answers.append(answer_of(connection))

        threads = [threading.Thread(target=ask) for _ in range(10)]
        for thread in threads:
            thread.start()
        while len(answers) < 6:
            time.sleep(0.01)
        # Those who run the service hear from it all the same.
        with connected(port) as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            status, told = answer_of(connection)
            assert status == 200
            assert b"lsr_open_requests 5.0" in told
        gate.set()
        for thread in threads:
            thread.join()
        assert sorted(status for status, _ in answers) == [200] * 4 + [503] * 6
        assert is_well(port)


def test_answers_that_take_too_long(serve: Serve) -> None:
    gate = threading.Event()
    index = StubIndex(lambda: gate.wait(5) and None)
    limits = Limits(concurrency=3, request_seconds=0.2)
    with serve(create_app({"stub": index}, Settings(limits, threads=1))) as port:
        for _ in range(3):
            with connected(port) as connection:
                connection.sendall(GET)
                status, body = answer_of(connection)
                assert (status, "0.2 seconds" in json.loads(body)["error"]) == (504, True)
        # One call has the thread; those that never began have left the queue.
        assert index.searches == 1
        gate.set()
        deadline = time.monotonic() + 5
        while not is_well(port):
            assert time.monotonic() < deadline
        assert index.searches >= 2
