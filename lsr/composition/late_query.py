"""The query side of composed encoders that run a model on queries, loaded when the first one comes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scipy import sparse

from lsr.encoders.base import CorpusStatistics, TermSpan
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError

if TYPE_CHECKING:
    from lsr.composition.encoder import ComposedEncoder


def write_record(folder: Path, encoder: ComposedEncoder) -> None:
    """Write ``query_encoder.json``: where the model of `encoder` lies and its fingerprint."""
    if encoder.folder is None:
        raise UserError(f"{encoder.name} lies in no folder that an index could name; save it first.")
    record = {
        "format": 1,
        "kind": "composition",
        "source": str(encoder.folder),
        "fingerprint": encoder.model_fingerprint(),
        "settings": encoder.settings,
    }
    (folder / "query_encoder.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


class LateQueryEncoder:
    """Encodes queries with the composed model that encoded the documents, and with no other."""

    def __init__(self, record: dict[str, Any], options: EncoderOptions) -> None:
        try:
            self._source = str(record["source"])
            self._expected = str(record["fingerprint"])
            self._settings = dict(record["settings"])
        except (KeyError, TypeError, ValueError):
            raise UserError(
                "query_encoder.json of the index names no model; build the index again."
            ) from None
        # Options that the documents were encoded with, for the fingerprint to agree.
        self._options = EncoderOptions(
            batch_size=options.batch_size,
            device=options.device,
            threads=options.threads,
            max_length=self._settings.get("max_length"),
            max_terms=self._settings.get("max_terms"),
            long_documents=self._settings.get("long_documents", "cut"),
        )
        self._encoder: ComposedEncoder | None = None

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

    def _loaded(self) -> ComposedEncoder:
        if self._encoder is None:
            from lsr.composition.encoder import ComposedEncoder

            try:
                encoder = ComposedEncoder.load(self._source, self._options)
            except UserError as error:
                raise UserError(f"the encoder that built the index cannot be loaded: {error}") from None
            if encoder.model_fingerprint() != self._expected:
                raise UserError(
                    f"the encoder at {self._source} has changed since it built the index; "
                    "put the old one back, or build the index again."
                )
            self._encoder = encoder
        return self._encoder
