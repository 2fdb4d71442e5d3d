"""``lsr serve``: indexes over HTTP, with a search page."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsr.cli.options import positive_int
from lsr.errors import UserError

if TYPE_CHECKING:
    from lsr.serving.running import Job

WRITE_KEYS = "LSR_WRITE_KEYS"
READ_KEYS = "LSR_READ_KEYS"
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_INSTALL = 'pip install "lsr-search[serve]"'

_EXAMPLES = f"""\
examples:
  lsr serve notes.index                          a search page and an API on http://127.0.0.1:8080/
  lsr serve papers.index old=archive/p.index     two indexes; the second is called "old"
  {WRITE_KEYS}=$(openssl rand -hex 32) lsr serve notes.index     whoever has the key may change the index
  lsr serve notes.index --host 0.0.0.0 --read-keys keys.txt     for other machines, with keys

  lsr serve /shared/papers.index --ray head:6379     a sharded index, its shards on a Ray cluster

search from a shell:
  curl "http://127.0.0.1:8080/v1/indexes/notes/search?q=battery+life&k=3"
  curl http://127.0.0.1:8080/openapi.json        everything else

keys: one a line in a file, or parted by commas in {WRITE_KEYS} and {READ_KEYS}; without keys for writing
nobody may write, without keys for reading everybody may read.
"""


def add_parser(subparsers: Any) -> None:
    """Add this sub-command to the command line."""
    parser = subparsers.add_parser(
        "serve",
        help="serve indexes over HTTP, with a search page",
        description=(
            "Serve indexes over HTTP: a search page, and an API for searching and changing them. Changes that "
            "other processes make are taken up by the next search. Only this machine can reach the service unless "
            "--host says otherwise; only indexes named here can be reached through it."
        ),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "index", nargs="+", metavar="INDEX", help="folder of an index, or NAME=FOLDER to choose its name"
    )
    network = parser.add_argument_group("network")
    network.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    network.add_argument(
        "--port", type=int, default=8080, help="port to listen on, 0 for any (default: 8080)"
    )
    network.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="answer requests that call the service by this name; may be repeated (default: localhost for an "
        "address of this machine alone, otherwise any)",
    )
    network.add_argument("--no-page", action="store_true", help="the API alone, without the search page")
    keys = parser.add_argument_group("keys")
    keys.add_argument("--write-keys", metavar="FILE", help="keys that may change indexes, one a line")
    keys.add_argument("--read-keys", metavar="FILE", help="keys that may search, one a line")
    limits = parser.add_argument_group("limits")
    for option, default, meaning in (
        ("--max-body", 8 << 20, "bytes of a request"),
        ("--max-k", 1_000, "results of a query"),
        ("--max-query", 10_000, "characters of a query"),
        ("--max-batch", 256, "queries in a request"),
        ("--max-documents", 1_000, "documents in a request"),
        ("--max-requests", 128, "requests in work or waiting; more are told to try again"),
        ("--max-connections", 1_000, "connections; more are closed"),
    ):
        limits.add_argument(
            option, type=positive_int, default=default, metavar="N", help=f"{meaning} (default: {default:,})"
        )
    limits.add_argument(
        "--timeout", type=positive_int, default=10, metavar="SECONDS", help="for an answer (default: 10)"
    )
    limits.add_argument(
        "--write-timeout",
        type=positive_int,
        default=300,
        metavar="SECONDS",
        help="for a change (default: 300)",
    )
    limits.add_argument(
        "--stop-timeout",
        type=positive_int,
        default=30,
        metavar="SECONDS",
        help="for requests in work when the service is told to stop (default: 30)",
    )
    computing = parser.add_argument_group("computing")
    computing.add_argument(
        "--workers",
        type=positive_int,
        default=1,
        metavar="N",
        help="processes (default: 1; one answers about as many requests as one core can)",
    )
    computing.add_argument(
        "--threads", type=positive_int, metavar="N", help="that search, in each process (default: all cores)"
    )
    computing.add_argument("--device", metavar="NAME", help="for models: cpu, cuda, cuda:1, mps")
    computing.add_argument(
        "--encoder",
        metavar="NAME_OR_PATH",
        help="where the encoder that filled the index lies now, for adding",
    )
    computing.add_argument(
        "--idf", choices=["training", "corpus"], help="for inference-free encoders, see lsr search"
    )
    computing.add_argument(
        "--no-sync", action="store_true", help="changes do not wait for the disk to confirm them"
    )
    cluster = parser.add_argument_group("several machines")
    cluster.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="serve the shards of sharded indexes (lsr index --ray) on a Ray cluster: HOST:PORT of its head, auto, or "
        "local; --host and --port are those of its machines",
    )
    cluster.add_argument(
        "--replicas",
        type=positive_int,
        default=2,
        metavar="N",
        help="with --ray: of each shard, and of the HTTP service (default: 2)",
    )
    cluster.add_argument(
        "--shard-timeout",
        type=positive_int,
        default=5,
        metavar="SECONDS",
        help="with --ray: a shard that has not answered by then is left out, and the answer says so (default: 5)",
    )
    parser.add_argument("--log-requests", action="store_true", help="print a line for each request")
    parser.add_argument("--quiet", action="store_true", help="print nothing but failures")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop."""
    folders = named_folders(args.index)
    try:
        import fastapi  # noqa: F401
        import httptools  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UserError(f"lsr serve needs {error.name}, which is not installed; run: {_INSTALL}") from None
    from lsr.serving.running import listen, open_indexes, serve

    job = _job(args, folders)
    if args.ray is not None:
        return _run_on_cluster(args, job)
    # What is wrong with an index shows before anything is served.
    documents = {}
    for name, index in open_indexes(job).items():
        documents[name] = index.info().documents
        index.close()
    with listen(args.host, args.port) as listening:
        if not args.quiet:
            _greet(args, job, documents, listening.getsockname()[1])
        serve(job, listening, args.workers)
    if not args.quiet:
        print("Stopped.", file=sys.stderr)
    return 0


def _run_on_cluster(args: argparse.Namespace, job: Job) -> int:
    """Serve on a Ray cluster until told to stop."""
    from lsr.cluster.connection import connect
    from lsr.cluster.ray_serving import ClusterJob, serving_on_cluster
    from lsr.index import ShardedIndex, open_index

    documents = {}
    for name, folder in job.folders.items():
        with open_index(folder) as index:
            if not isinstance(index, ShardedIndex):
                raise UserError(f"{folder} is not a sharded index; build one with lsr index --ray.")
            documents[name] = index.document_count
    connect(args.ray)
    cluster_job = ClusterJob(
        folders={name: str(Path(folder).absolute()) for name, folder in job.folders.items()},
        settings=job.settings,
        options=job.options,
        host=args.host,
        port=args.port,
        replicas=args.replicas,
        threads=args.threads or 1,
        shard_seconds=args.shard_timeout,
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if not args.quiet:
        print("Starting the shards on the cluster.", file=sys.stderr)
    with serving_on_cluster(cluster_job):
        if not args.quiet:
            _greet(args, job, documents, args.port)
        stop.wait()
    if not args.quiet:
        print("Stopped.", file=sys.stderr)
    return 0


def named_folders(arguments: list[str]) -> dict[str, str]:
    """Return the folder of each index by the name that it is served under.

    Raises:
        UserError: for names that are taken, or that no address can hold.
    """
    folders: dict[str, str] = {}
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        if not equals or Path(argument).exists():
            folder = argument
            name = Path(folder).resolve().name.removesuffix(".index")
        if not _NAME.fullmatch(name):
            raise UserError(
                f"{argument}: {name!r} cannot be the name of an index, which is letters, digits, and . _ - ; "
                f"give it another one: NAME={folder}"
            )
        if name in folders:
            raise UserError(
                f"{argument}: an index is called {name!r} already; give it another name: NAME={folder}"
            )
        folders[name] = folder
    return folders


def _job(args: argparse.Namespace, folders: dict[str, str]) -> Job:
    """Gather the options into what the service goes by."""
    from lsr.encoders.options import EncoderOptions
    from lsr.serving.keys import Keys, read_keys
    from lsr.serving.running import Job
    from lsr.serving.settings import Limits, Settings

    limits = Limits(
        body_bytes=args.max_body,
        k=args.max_k,
        query_characters=args.max_query,
        batch=args.max_batch,
        documents=args.max_documents,
        concurrency=args.max_requests,
        connections=args.max_connections,
        request_seconds=args.timeout,
        write_seconds=args.write_timeout,
    )
    settings = Settings(
        limits=limits,
        keys=Keys(
            write=read_keys(WRITE_KEYS, args.write_keys, "--write-keys"),
            read=read_keys(READ_KEYS, args.read_keys, "--read-keys"),
        ),
        allowed_hosts=_allowed_hosts(args),
        threads=args.threads or os.cpu_count() or 1,
        page=not args.no_page,
    )
    return Job(
        folders=folders,
        settings=settings,
        encoder=args.encoder,
        options=EncoderOptions(device=args.device, threads=args.threads, idf=args.idf),
        durable=not args.no_sync,
        stop_seconds=args.stop_timeout,
        log_requests=args.log_requests,
    )


def _allowed_hosts(args: argparse.Namespace) -> tuple[str, ...] | None:
    own = args.host in ("localhost", "::1") or args.host.startswith("127.")
    if not own and not args.allowed_host:
        return None
    return (*_LOOPBACK, args.host.lower(), *(name.lower() for name in args.allowed_host))


def _greet(args: argparse.Namespace, job: Job, documents: dict[str, int], port: int) -> None:
    """Say what is served, where, and to whom."""
    keys = job.settings.keys
    host = f"[{args.host}]" if ":" in args.host else args.host
    for name, count in documents.items():
        print(f"Serving {name}: {count:,} document{'s' * (count != 1)}", file=sys.stderr)
    print(f"http://{host}:{port}/   Ctrl-C stops it.", file=sys.stderr)
    if not keys.writable:
        print(
            f"  note: nobody may change indexes; {WRITE_KEYS} or --write-keys lets keys do it.",
            file=sys.stderr,
        )
    if job.settings.allowed_hosts is None and not keys.reading_needs_key:
        print(
            f"  note: other machines can reach this, and search without a key; {READ_KEYS} or --read-keys asks "
            "for one.",
            file=sys.stderr,
        )
