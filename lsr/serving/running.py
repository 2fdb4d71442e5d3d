"""Running the service: from folders and options to a server that stops in an orderly way."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.index.warming import warming
from lsr.serving.app import create_app
from lsr.serving.local import LocalIndex
from lsr.serving.metrics import SHARED_FIGURES
from lsr.serving.protocol import GuardedProtocol
from lsr.serving.settings import Settings

# A thread that is in Python code lets others in after so many seconds (Python's own: 5 ms). The event loop
# must not wait long for threads that write results.
_SWITCH_INTERVAL = 0.0005


@dataclass(frozen=True)
class Job:
    """What to serve, and how; all of it can be sent to another process.

    Args:
        folders: the folder of each index, by its name.
        encoder: where the encoder that filled the indexes lies now, for adding documents.
        durable: changes are confirmed by the disk.
        stop_seconds: given to requests in work when the service is to stop.
        log_requests: log a line for each request.
    """

    folders: dict[str, str]
    settings: Settings
    encoder: str | None = None
    options: EncoderOptions = field(default_factory=EncoderOptions)
    durable: bool = True
    stop_seconds: int = 30
    log_requests: bool = False


def open_indexes(job: Job) -> dict[str, LocalIndex]:
    """Open the indexes of a job.

    Raises:
        lsr.index.IndexProblem: for a folder that is no index.
        UserError: for an encoder that queries need and cannot be loaded.
    """
    with ExitStack() as stack:
        opened = {}
        for name, folder in job.folders.items():
            index = LocalIndex(
                folder,
                name,
                encoder=job.encoder,
                options=job.options,
                threads=job.settings.threads,
                durable=job.durable,
                patience=job.settings.limits.request_seconds,
            )
            stack.callback(index.close)
            index.prepare()
            opened[name] = index
        stack.pop_all()
        return opened


def application(job: Job) -> FastAPI:
    """Return the application of a job; each process makes its own."""
    sys.setswitchinterval(_SWITCH_INTERVAL)
    if parent := multiprocessing.parent_process():
        threading.Thread(target=_stop_after, args=(parent,), name="lsr-parent", daemon=True).start()
    app = create_app(open_indexes(job), job.settings)
    # Until compiled search is loaded, queries are answered without it.
    threading.Thread(target=warming.wait, name="lsr-warm").start()
    return app


def _stop_after(parent: Any) -> None:
    """Stop this process in an orderly way when the one that started it has died, however it died."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        UserError: where the address is taken, or not this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"--host {host} --port {port}: the service cannot listen there ({reason}); choose another port or host."
        ) from None


def serve(job: Job, listening: socket.socket, workers: int = 1) -> None:
    """Serve until a signal to stop comes; then what is in work is finished.

    Args:
        listening: from `listen`.
        workers: processes; each opens the indexes, and holds their encoders.
    """
    config: dict[str, Any] = {
        "http": GuardedProtocol,
        "ws": "none",
        "lifespan": "on",
        "log_config": _logging(job.log_requests),
        "access_log": job.log_requests,
        "server_header": False,
        # Nothing that a client sends is taken for its address.
        "proxy_headers": False,
        "timeout_keep_alive": int(max(1, job.settings.limits.header_seconds)),
        "timeout_graceful_shutdown": job.stop_seconds,
    }
    for number in (signal.SIGINT, signal.SIGTERM):
        # The server handles these while it runs, and repeats what it got when it has stopped.
        signal.signal(number, lambda *_: None)
    if workers == 1:
        uvicorn.Server(uvicorn.Config(application(job), **config)).run(sockets=[listening])
        return
    with tempfile.TemporaryDirectory(prefix="lsr-serve-") as figures:
        os.environ[SHARED_FIGURES] = figures
        make = functools.partial(application, job)
        Multiprocess(uvicorn.Config(make, factory=True, workers=workers, **config), sockets=[listening]).run()


def _logging(requests: bool) -> dict[str, Any]:
    """Return a logging configuration: failures, and requests where wanted, on standard error."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
        "loggers": {
            "lsr": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
            # What clients send wrong is no failure of the service.
            "uvicorn": {"handlers": ["stderr"], "level": "ERROR", "propagate": False},
            "uvicorn.access": {
                "handlers": ["stderr"] if requests else [],
                "level": "INFO",
                "propagate": False,
            },
        },
    }
