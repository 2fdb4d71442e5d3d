"""The query side of ``splade`` encoders: the same model, loaded when the first query comes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scipy import sparse

from lsr.encoders.base import CorpusStatistics, TermSpan
from lsr.encoders.built_in import BUILT_IN
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError

if TYPE_CHECKING:
    from lsr.encoders.learned import LearnedEncoder


def write_record(folder: Path, encoder: LearnedEncoder) -> None:
    """Write ``query_encoder.json``: where the model of `encoder` lies, its settings and fingerprint."""
    checkpoint = encoder.checkpoint
    # A built-in model is found by its name, wherever the package lies.
    built_in = checkpoint.source in BUILT_IN
    local = not built_in and Path(checkpoint.source).expanduser().is_dir()
    record = {
        "format": 1,
        "kind": "splade",
        "source": str(checkpoint.folder) if local else checkpoint.source,
        "revision": None if local or built_in else checkpoint.folder.name,
        "fingerprint": encoder.fingerprint(),
        "settings": encoder.settings,
    }
    (folder / "query_encoder.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


class ModelQueryEncoder:
    """Encodes queries with the model that encoded the documents, and with no other.

    The model is loaded, and its fingerprint compared, when the first query comes; `UserError` then
    where it has gone or changed.
    """

    def __init__(
        self,
        source: str,
        fingerprint: str,
        settings: dict[str, Any],
        options: EncoderOptions,
        revision: str | None = None,
    ) -> None:
        self._source = source
        self._expected = fingerprint
        self._settings = settings
        self._revision = revision
        self._options = options
        self._encoder: LearnedEncoder | None = None

    @classmethod
    def from_record(cls, record: dict[str, Any], options: EncoderOptions) -> ModelQueryEncoder:
        """Take what `write_record` wrote; of `options`, device, threads and batch size."""
        try:
            return cls(
                record["source"],
                record["fingerprint"],
                dict(record["settings"]),
                options,
                record.get("revision"),
            )
        except (KeyError, TypeError, ValueError):
            raise UserError(
                "query_encoder.json of the index names no model; build the index again."
            ) from None

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that changes the output, as JSON values."""
        return dict(self._settings)

    def encode_queries(
        self, texts: Sequence[str], statistics: CorpusStatistics | None = None
    ) -> sparse.csr_array:
        """Return query weights, shape (texts, vocabulary)."""
        return self._loaded().encode_queries(texts, statistics)

    def term_spans(self, text: str) -> list[TermSpan]:
        """Return where the pieces of a text stand in it."""
        return self._loaded().term_spans(text)

    def _loaded(self) -> LearnedEncoder:
        if self._encoder is None:
            self._encoder = self._load()
        return self._encoder

    def _load(self) -> LearnedEncoder:
        from lsr.encoders.learned import LearnedEncoder

        settings = {name: value for name, value in self._settings.items() if value is not None}
        if self._revision:
            settings["revision"] = self._revision
        options = dataclasses.replace(
            self._options, settings=settings, max_length=None, max_terms=None, idf=None, long_documents="cut"
        )
        try:
            encoder = LearnedEncoder.load(self._source, options)
        except UserError as error:
            raise UserError(f"the encoder that built the index cannot be loaded: {error}") from None
        if encoder.fingerprint() != self._expected:
            raise UserError(
                f"the encoder at {self._source} has changed since it built the index; "
                "put the old one back, or build the index again."
            )
        return encoder
