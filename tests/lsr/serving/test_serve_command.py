"""``lsr serve`` as a person starts and stops it, and what becomes of work that is under way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from stub_index import StubIndex

import lsr
from lsr.cli.main import main
from lsr.serving import create_app

KEY = "0123456789abcdef-and-more"


@contextlib.contextmanager
def started(*arguments: object, keys: bool = True) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """Run the command; the process, its address and what it greets with."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "LSR_WRITE_KEYS": KEY} if keys else {**os.environ}
    process = subprocess.Popen(
        [sys.executable, "-m", "lsr.cli.main", "serve", *map(str, arguments), "--port", str(port)],
        env=environment,
        cwd=Path(sys.prefix),
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        greeting = []
        while not (greeting and greeting[-1].startswith("http")):
            line = process.stderr.readline()
            assert line, greeting
            greeting.append(line.rstrip())
        yield process, greeting[-1].split()[0], greeting
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as Unix has them")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_lets_a_change_be_finished(folder: Path, workers: int) -> None:
    rows = [{"id": f"d{n}", "text": f"electricity number {n}"} for n in range(1_000)]
    with started(folder, "--workers", workers, "--log-requests") as (process, address, greeting):
        assert greeting[0] == "Serving notes: 3 documents"
        writing = {"Authorization": f"Bearer {KEY}"}
        answers: list[httpx.Response] = []

        def put() -> None:
            answers.append(
                httpx.put(
                    f"{address}v1/indexes/notes/documents",
                    json={"documents": rows},
                    headers=writing,
                    timeout=60,
                )
            )

        with httpx.Client(base_url=address, timeout=60) as client:
            answer = client.get("/v1/indexes/notes/search", params={"q": "electricity", "k": 2})
            assert {result["id"] for result in answer.json()["results"]} == {"wind", "solar"}
            # Whichever process is asked knows what all of them did.
            for _ in range(6):
                told = httpx.get(f"{address}metrics", timeout=60).text
                assert 'lsr_queries_total{index="notes"} 1.0' in told
                assert 'lsr_index_documents{index="notes"} 3.0' in told
            thread = threading.Thread(target=put)
            thread.start()
            # The lock's file is there as soon as the change has begun.
            deadline = time.monotonic() + 30
            while not (folder / "lock").exists() and time.monotonic() < deadline:
                time.sleep(0.002)
            process.send_signal(signal.SIGTERM)
        thread.join()
        assert process.wait(timeout=60) == 0
        assert answers[0].status_code == 200, (answers[0].text, process.stderr and process.stderr.read())
        assert answers[0].json()["added"] == 1_000
        rest = process.stderr.read() if process.stderr else ""
        assert "PUT /v1/indexes/notes/documents" in rest
        assert rest.rstrip().endswith("Stopped.")
        assert "Traceback" not in rest
    with lsr.Searcher(folder) as searcher:
        assert searcher.index.document_count == 1_003
        searcher.index.verify()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as Unix has them")
def test_interrupting_is_no_failure(folder: Path) -> None:
    with started(folder, keys=False) as (process, address, _):
        assert process.stderr is not None
        assert "nobody may change indexes" in process.stderr.readline()
        page = httpx.get(address, timeout=60)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert httpx.put(f"{address}v1/indexes/notes/documents", json={}, timeout=60).status_code == 403
        # Whatever name a page of another site gives this machine.
        other = httpx.get(address, headers={"Host": "other.example"}, timeout=60)
        assert other.status_code == 421
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == "Stopped.\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as Unix has them")
def test_processes_do_not_outlive_the_one_that_started_them(folder: Path) -> None:
    with started(folder, "--workers", 2) as (process, address, _):
        assert httpx.get(f"{address}health", timeout=60).status_code == 200
        process.kill()
        deadline = time.monotonic() + 30
        with pytest.raises(httpx.TransportError):
            while time.monotonic() < deadline:
                httpx.get(f"{address}health", timeout=5)
                time.sleep(0.05)


def test_what_is_being_answered_when_it_stops_is_answered(serve: Callable[..., Any]) -> None:
    begun = threading.Semaphore(0)
    go = threading.Event()

    def before() -> None:
        begun.release()
        go.wait(10)

    index = StubIndex(before)
    answers: list[int] = []

    def ask(port: int) -> None:
        url = f"http://127.0.0.1:{port}/v1/indexes/stub/search?q=x"
        answers.append(httpx.get(url, timeout=20).status_code)

    threads = []
    with serve(create_app({"stub": index})) as port:
        for _ in range(6):
            threads.append(threading.Thread(target=ask, args=(port,)))
            threads[-1].start()
        for _ in range(4):  # As many as there are threads; the others wait.
            assert begun.acquire(timeout=10)
        # A client that asks and goes leaves its work behind.
        with socket.create_connection(("127.0.0.1", port)) as gone:
            gone.sendall(b"GET /v1/indexes/stub/search?q=x HTTP/1.1\r\nHost: x\r\n\r\n")
        threading.Timer(0.5, go.set).start()
        assert not index.closed.is_set()
    for thread in threads:
        thread.join()
    assert answers == [200] * 6
    assert index.closed.is_set()


def test_refusals(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(*arguments: object) -> str:
        assert main(["serve", *map(str, arguments)]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        return printed.err

    assert "There is no index at" in told(tmp_path / "nowhere")
    assert "give it another name: NAME=" in told(folder, folder)
    assert "cannot be the name of an index" in told(f"a/b={folder}")
    keys = tmp_path / "keys"
    keys.write_text("# none\n")
    assert "holds no key" in told(folder, "--write-keys", keys)
    assert "cannot be read" in told(folder, "--read-keys", tmp_path / "none")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "choose another port" in told(folder, "--port", taken.getsockname()[1])
    monkeypatch.setenv("LSR_WRITE_KEYS", "short-one")
    sentence = told(folder)
    assert "at least 16 characters" in sentence
    assert "short-one" not in sentence
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    sentence = told(folder)
    assert "needs uvicorn" in sentence
    assert 'pip install "lsr-search[serve]"' in sentence


def test_two_indexes_by_names_of_their_own(folder: Path) -> None:
    with started(folder, f"second={folder}", "--read-keys", _keys(folder)) as (_, address, greeting):
        assert greeting[:2] == ["Serving notes: 3 documents", "Serving second: 3 documents"]
        reading = {"Authorization": "Bearer reading-key-0123456789"}
        assert httpx.get(f"{address}v1/indexes", timeout=60).status_code == 401
        listed = httpx.get(f"{address}v1/indexes", headers=reading, timeout=60).json()["indexes"]
        assert [index["name"] for index in listed] == ["notes", "second"]
        assert str(folder.parent) not in json.dumps(listed)


def _keys(folder: Path) -> str:
    path = folder.parent / "keys.txt"
    path.write_text("# for readers\nreading-key-0123456789\n")
    return str(path)
