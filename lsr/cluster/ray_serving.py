"""Serving the shards of an index with Ray Serve: replicas of each shard, and the HTTP service before them.

A shard is a deployment of its own; the HTTP service, another one, asks all of them and merges what
they find. Ray Serve starts replicas anew that die, on other machines where need be.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lsr.cluster.cluster_index import ClusterIndex, Lost
from lsr.cluster.shard_service import ShardAnswer, ShardQuery, ShardService
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.index import ShardedIndex, open_index
from lsr.serving.settings import Settings

APPLICATION = "lsr"
# A replica that does not answer is found within these seconds, and another one started.
_HEALTH_PERIOD = 2.0
_HEALTH_TIMEOUT = 5.0
# What shards may take to start; then the service starts without them.
_START_SECONDS = 120.0


@dataclass(frozen=True)
class ClusterJob:
    """What to serve on a cluster; all of it can be sent to its machines.

    Args:
        folders: the folder of each index, all sharded, by its name, on storage that all machines see.
        replicas: of each shard, and of the HTTP service.
        threads: that search in each replica of a shard.
        shard_seconds: a shard that has not answered by then is left out of an answer.
    """

    folders: dict[str, str]
    settings: Settings
    options: EncoderOptions
    host: str
    port: int
    replicas: int = 2
    threads: int = 1
    shard_seconds: float = 5.0


class ShardDeployment:
    """A replica of one shard: searches in threads, so that its loop can say that it lives."""

    def __init__(self, folder: str, name: str, fields: Mapping[str, Any], threads: int) -> None:
        self._service = ShardService(folder, name, fields)
        self._pool = ThreadPoolExecutor(threads)

    async def search(self, query: ShardQuery) -> ShardAnswer:
        """Return the best documents of the shard."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._service.search, query)


class _RayPending:
    def __init__(self, response: Any, lost: tuple[type[Exception], ...]) -> None:
        self._response = response
        self._lost = lost

    def result(self, seconds: float) -> ShardAnswer:
        """Wait for the answer, see `lsr.cluster.cluster_index.Pending`."""
        try:
            answer: ShardAnswer = self._response.result(timeout_s=seconds)
            return answer
        except TimeoutError:  # Of which Ray's own is one.
            raise
        except self._lost as error:
            raise Lost from error

    def cancel(self) -> None:
        """Say that nobody waits any more."""
        self._response.cancel()


class RayShards:
    """The shards of one index behind deployment handles."""

    def __init__(self, handles: list[Any]) -> None:
        self._handles = handles
        ray = importlib.import_module("ray")
        serve = importlib.import_module("ray.serve.exceptions")
        self._lost = (ray.exceptions.RayError, serve.RayServeException)

    def ask(self, shard: int, query: ShardQuery) -> _RayPending:
        """Have some replica of a shard search it."""
        try:
            return _RayPending(self._handles[shard].search.remote(query), self._lost)
        except self._lost as error:
            raise Lost from error


def shard_deployment_name(index: str, shard: int) -> str:
    """Return the name of a shard's deployment."""
    return f"{index}-shard-{shard:05}"


@contextmanager
def serving_on_cluster(job: ClusterJob) -> Iterator[None]:
    """Deploy everything, and take it down again when the block ends. Ray is connected already.

    Raises:
        UserError: where the service does not come up.
    """
    serve = importlib.import_module("ray.serve")
    ray = importlib.import_module("ray")
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    application = _application(job, serve, ray)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    addresses = {node["NodeManagerAddress"] for node in nodes}
    serve.start(
        # A proxy on every machine answers also when others are gone; several on one would want one port.
        proxy_location="EveryNode" if len(addresses) == len(nodes) else "HeadOnly",
        http_options={"host": job.host, "port": job.port},
    )
    try:
        try:
            serve.run(application, name=APPLICATION, route_prefix="/")
        except RuntimeError as error:
            reason = (str(error).strip() or "no reason given").splitlines()[0]
            raise UserError(f"The service did not come up on the cluster: {reason}") from None
        yield
    finally:
        serve.shutdown()


def _application(job: ClusterJob, serve: Any, ray: Any) -> Any:
    """Return the deployments: a shard each, and the HTTP service, which needs all of them."""
    machines = max(1, sum(node["Alive"] and node["Resources"].get("CPU", 0) >= 1 for node in ray.nodes()))
    bound: dict[str, list[Any]] = {}
    for name, folder in job.folders.items():
        with open_index(folder) as index:
            assert isinstance(index, ShardedIndex)
            shards, fields = index.shards, dict(index.fields)
        options: dict[str, Any] = {
            "num_replicas": job.replicas,
            "ray_actor_options": {"num_cpus": 0.5 * job.threads},
            "max_ongoing_requests": 4 * job.threads,
            "health_check_period_s": _HEALTH_PERIOD,
            "health_check_timeout_s": _HEALTH_TIMEOUT,
            "graceful_shutdown_timeout_s": 2.0,
        }
        if job.replicas > 1 and machines > 1:
            # Never all replicas of a shard on one machine.
            options["max_replicas_per_node"] = max(1, job.replicas - 1)
        bound[name] = [
            serve.deployment(ShardDeployment)
            .options(name=shard_deployment_name(name, number), **options)
            .bind(folder, shard, fields, job.threads)
            for number, shard in enumerate(shards)
        ]
    return _gateway(job, serve, machines, bound)


def _gateway(job: ClusterJob, serve: Any, machines: int, bound: dict[str, list[Any]]) -> Any:
    """Return the HTTP service of `lsr.serving`, whose indexes the shards' deployments search."""
    counts = {name: len(shards) for name, shards in bound.items()}

    def build() -> Any:
        """Make the application, in each replica."""
        from lsr.serving.app import create_app

        get_handle = importlib.import_module("ray.serve").get_deployment_handle
        indexes = {}
        for name, folder in job.folders.items():
            handles = [
                get_handle(shard_deployment_name(name, number), APPLICATION) for number in range(counts[name])
            ]
            indexes[name] = ClusterIndex(
                folder, name, RayShards(handles), options=job.options, shard_seconds=job.shard_seconds
            )
            indexes[name].prepare()
            # Shards start at the same time; until they answer, this replica is not there for anybody. Ray's
            # answers are waited for outside of event loops only.
            with ThreadPoolExecutor(1) as thread:
                thread.submit(indexes[name].wait_for_shards, _START_SECONDS).result()
        return create_app(indexes, job.settings)

    options: dict[str, Any] = {
        "name": "http",
        "num_replicas": job.replicas,
        "ray_actor_options": {"num_cpus": 0.25},
        "max_ongoing_requests": 2 * job.settings.limits.concurrency,
        "health_check_period_s": _HEALTH_PERIOD,
        "health_check_timeout_s": _HEALTH_TIMEOUT,
        "graceful_shutdown_timeout_s": 5.0,
    }
    if job.replicas > 1 and machines > 1:
        options["max_replicas_per_node"] = max(1, job.replicas - 1)
    deployment = serve.deployment(serve.ingress(build)()).options(**options)
    return deployment.bind(*(shard for shards in bound.values() for shard in shards))
