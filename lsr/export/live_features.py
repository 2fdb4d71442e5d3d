"""OpenSearch and Elasticsearch, through their own clients, which are much alike."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from typing import Any

from scipy import sparse

from lsr.errors import UserError
from lsr.export.engine import Engine
from lsr.export.feature_fields import FeatureEngine, as_bulk, found_in
from lsr.export.live import LiveEngine, client_library, key, only_matches, told

_SEARCHES_AT_ONCE = 100
_SECONDS = 120


class LiveFeatures(LiveEngine):
    """What the two have in common."""

    engine: FeatureEngine

    def __init__(self, engine: Engine, url: str) -> None:
        super().__init__(engine, url)
        self._client, self._bulk, self._errors = self._connect()

    @abstractmethod
    def _connect(self) -> tuple[Any, Any, tuple[type[Exception], ...]]:
        """Return the client, its streaming bulk helper, and the errors it raises."""

    def load(self) -> None:
        """Create the index, fill it, and mark it as complete."""
        name = self.engine.collection
        with told(self, *self._errors):
            if self._client.indices.exists(index=name):
                raise self.taken
            body = self.engine.mapping()
            about = body["mappings"]["_meta"]["lsr"]
            about["complete"] = False
            self._client.indices.create(index=name, body=body)
            try:
                for done, answer in self._bulk(
                    self._client, as_bulk(self.engine.rows(), name), raise_on_error=False
                ):
                    if not done:
                        raise UserError(f"{self.engine.title} refused a document: {_reason(answer)}")
                self._client.indices.refresh(index=name)
                meta = {"lsr": {**about, "complete": True}}
                self._client.indices.put_mapping(index=name, body={"_meta": meta})
            except BaseException:
                with contextlib.suppress(*self._errors):
                    self._client.indices.delete(index=name)
                raise

    def search(self, queries: sparse.csr_array, k: int) -> list[list[tuple[str, float]]]:
        """Ask for some queries at once."""
        name = self.engine.collection
        found: list[list[tuple[str, float]]] = []
        with told(self, *self._errors):
            self._check(name)
            for first in range(0, queries.shape[0], _SEARCHES_AT_ONCE):
                lines: list[dict[str, Any]] = []
                rows = range(first, min(first + _SEARCHES_AT_ONCE, queries.shape[0]))
                asked = [row for row in rows if queries.indptr[row] < queries.indptr[row + 1]]
                for row in asked:
                    lines += [{}, self.engine.query(queries[row : row + 1], k)]
                answers = self._client.msearch(index=name, body=lines)["responses"] if asked else []
                by_row = dict(zip(asked, answers, strict=True))
                for row in rows:
                    answer = by_row.get(row)
                    if answer is not None and "error" in answer:
                        raise UserError(f"{self.engine.title} refused a query: {_reason(answer['error'])}")
                    found.append(only_matches(found_in(answer)) if answer is not None else [])
        return found

    def _check(self, name: str) -> None:
        if not self._client.indices.exists(index=name):
            raise self.missing
        mapping = dict(self._client.indices.get_mapping(index=name))
        (only,) = mapping.values()
        about = only["mappings"].get("_meta", {}).get("lsr", {})
        # One made from files has no mark.
        if about.get("complete") is False:
            raise self.unfinished
        fingerprint = self.engine.source.index.manifest.encoder["fingerprint"]
        if about.get("fingerprint", fingerprint) != fingerprint:
            raise UserError(
                f"{name!r} at {self.url} was filled by another encoder than {self.engine.source.index.folder}; name "
                "its own index."
            )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class LiveOpenSearch(LiveFeatures):
    """OpenSearch through opensearch-py."""

    def _connect(self) -> tuple[Any, Any, tuple[type[Exception], ...]]:
        library = client_library("opensearchpy", "opensearch-py", "opensearch")
        user, _, password = (key() or "").partition(":")
        options: dict[str, Any] = {"http_auth": (user, password)} if user else {}
        client = library.OpenSearch(hosts=[self.url], timeout=_SECONDS, **options)
        return client, library.helpers.streaming_bulk, (library.exceptions.OpenSearchException,)


class LiveElasticsearch(LiveFeatures):
    """Elasticsearch through elasticsearch-py."""

    def _connect(self) -> tuple[Any, Any, tuple[type[Exception], ...]]:
        library = client_library("elasticsearch", "elasticsearch", "elasticsearch")
        helpers = client_library("elasticsearch.helpers", "elasticsearch", "elasticsearch")
        found = key() or ""
        options: dict[str, Any] = {}
        if ":" in found:
            options["basic_auth"] = tuple(found.split(":", 1))
        elif found:
            options["api_key"] = found
        try:
            client = library.Elasticsearch(self.url, request_timeout=_SECONDS, **options)
        except ValueError as error:
            raise UserError(f"--url {self.url}: {error}") from None
        return client, helpers.streaming_bulk, (library.ApiError, library.TransportError)


def _reason(answer: Any) -> str:
    """Return the reason of a refusal, wherever it stands in the answer."""
    while isinstance(answer, dict):
        if isinstance(answer.get("reason"), str):
            cause = answer.get("caused_by")
            return f"{answer['reason']} ({_reason(cause)})" if cause else str(answer["reason"])
        answer = answer.get("error") or next(iter(answer.values()), "")
    return str(answer)
