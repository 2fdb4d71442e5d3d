"""Vespa through pyvespa: searches only, since an application is deployed and fed with Vespa's own tools."""

from __future__ import annotations

from typing import Any

from scipy import sparse

from lsr.errors import UserError
from lsr.export.engine import Engine
from lsr.export.live import LiveEngine, client_library, key, only_matches, told
from lsr.export.vespa import Vespa


class LiveVespa(LiveEngine):
    """A deployed application."""

    engine: Vespa

    def __init__(self, engine: Engine, url: str) -> None:
        super().__init__(engine, url)
        library = client_library("vespa.application", "pyvespa", "vespa")
        exceptions = client_library("vespa.exceptions", "pyvespa", "vespa")
        self._errors: tuple[type[Exception], ...] = (exceptions.VespaError, OSError)
        self._application = library.Vespa(url, vespa_cloud_secret_token=key())

    def load(self) -> None:
        """Refuse: files are what Vespa's tools take."""
        raise UserError(
            "Vespa is loaded from files: name a folder with -o instead of --url, then vespa deploy the application "
            "and vespa feed the documents, as the README.md there says."
        )

    def search(self, queries: sparse.csr_array, k: int) -> list[list[tuple[str, float]]]:
        """Ask query by query."""
        found = []
        for row in range(queries.shape[0]):
            query = queries[row : row + 1]
            with told(self, *self._errors):
                answer: Any = self._application.query(body=self.engine.query(query, k)).json
            root = answer.get("root", {})
            if "errors" in root:
                raise UserError(
                    f"Vespa at {self.url} answered: {root['errors'][0].get('message', root['errors'][0])}"
                )
            unit = self.engine.unit(query)
            hits = [
                (hit["fields"]["number"], hit["fields"]["id"], hit["relevance"] * unit)
                for hit in root.get("children", [])
            ]
            hits.sort(key=lambda hit: (-hit[2], hit[0]))
            found.append(only_matches([(id_, score) for _, id_, score in hits]))
        return found

    def close(self) -> None:
        """Nothing stays open between queries."""
