"""Engines that are running: loading an index into one, and asking it."""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from scipy import sparse

from lsr.errors import UserError
from lsr.export.engine import Engine

LIVE = {
    "elasticsearch": "lsr.export.live_features:LiveElasticsearch",
    "milvus": "lsr.export.live_milvus:LiveMilvus",
    "opensearch": "lsr.export.live_features:LiveOpenSearch",
    "qdrant": "lsr.export.live_qdrant:LiveQdrant",
    "vespa": "lsr.export.live_vespa:LiveVespa",
}
KEY = "LSR_ENGINE_KEY"
"""The environment variable with an API key, a token, or ``user:password``."""


class LiveEngine(ABC):
    """A running engine. Opening it does not talk to it yet."""

    def __init__(self, engine: Engine, url: str) -> None:
        self.engine = engine
        self.url = url

    @abstractmethod
    def load(self) -> None:
        """Create the collection and fill it; drop it again where that fails.

        Raises:
            UserError: where it exists, or the engine refuses something.
        """

    @abstractmethod
    def search(self, queries: sparse.csr_array, k: int) -> list[list[tuple[str, float]]]:
        """Return for each query the ids and scores of the k best documents, best first.

        Scores are on the scale of the index exported.

        Raises:
            UserError: where there is no such collection, or its loading was not finished.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    @property
    def missing(self) -> UserError:
        """What to say where the collection is not there."""
        return UserError(
            f"{self.engine.title} at {self.url} has no {self.engine.collection!r}; load it with: lsr export "
            f"{self.engine.source.index.folder} --to {self.engine.name} --url {self.url}, or name another one "
            "with --name."
        )

    @property
    def taken(self) -> UserError:
        """What to say where the collection is there already."""
        return UserError(
            f"{self.engine.title} at {self.url} has {self.engine.collection!r} already; name another one with "
            "--name, or delete it there."
        )

    @property
    def unfinished(self) -> UserError:
        """What to say where loading was interrupted."""
        return UserError(
            f"Loading {self.engine.collection!r} into {self.engine.title} at {self.url} was not finished; delete it "
            "there and load it again."
        )

    def __enter__(self) -> LiveEngine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def live_engine(engine: Engine, url: str) -> LiveEngine:
    """Return the running engine at `url`.

    Raises:
        UserError: where it is one that only takes files, or its client is not installed.
    """
    if engine.name not in LIVE:
        raise UserError(
            f"{engine.title} is loaded from files; name a folder for them with -o instead of --url."
        )
    module, _, kind = LIVE[engine.name].partition(":")
    live: LiveEngine = getattr(importlib.import_module(module), kind)(engine, url)
    return live


def client_library(module: str, package: str, extra: str) -> Any:
    """Import an engine's client.

    Raises:
        UserError: where it is not installed, saying how it is.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(
            f"This needs {package}, which is not installed; install it with: pip install 'lsr-search[{extra}]'"
        ) from None


def key() -> str | None:
    """Return the key in the environment, if there is one."""
    return os.environ.get(KEY) or None


@contextmanager
def told(live: LiveEngine, *kinds: type[Exception]) -> Iterator[None]:
    """Turn a client's errors into `UserError`."""
    try:
        yield
    except kinds as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{live.engine.title} at {live.url} answered: {reason[:400]}; check --url and {KEY}."
        ) from error


def only_matches(found: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Leave out documents that no term of the query is in, which some engines return to fill up."""
    return [(id_, score) for id_, score in found if score > 0]
