"""The encoder that filled an index, taken up again to add to it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from lsr.encoders.base import Encoder
from lsr.encoders.external import EXTERNAL, ExternalEncoder
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.index import Index


def index_encoder(
    index: Index,
    encoder: str | Path | Encoder | None = None,
    options: EncoderOptions | None = None,
    *,
    with_vectors: bool = False,
) -> Encoder:
    """Load the encoder that filled `index`, with the settings it had and the vocabulary so far.

    Args:
        encoder: where it lies now, or itself; None looks where it lay when the index was built.
        options: ``device``, ``threads`` and ``batch_size``; settings are the index's.
        with_vectors: documents come with vectors, so that no model is needed.

    Raises:
        UserError: where it cannot be loaded, or is not the same.
    """
    options = options or EncoderOptions()
    record = index.manifest.encoder
    settings: dict[str, Any] = dict(record["settings"])
    kind = settings.get("kind")
    if kind not in ("bm25", EXTERNAL) and with_vectors:
        if encoder is not None:
            _check_same(index, _learned(encoder, settings, options))
        return ExternalEncoder(index.vocabulary())
    if kind in ("bm25", EXTERNAL):
        if encoder is not None and str(encoder) != kind:
            from lsr.encoders import load_encoder

            given = load_encoder(encoder, options) if isinstance(encoder, (str, Path)) else encoder
            _check_same(index, given)
        loaded: Encoder
        if kind == EXTERNAL:
            loaded = ExternalEncoder()
            loaded.extend_vocabulary(index.vocabulary())
        else:
            loaded = _bm25(index, settings)
    else:
        loaded = _learned(record["name"] if encoder is None else encoder, settings, options)
        if settings.get("terms") == "words":
            _take_up_words(index, loaded)
    _check_same(index, loaded)
    return loaded


def _take_up_words(index: Index, encoder: Any) -> None:
    """Give the words that `index` numbers past the encoder's pieces the same ids in the encoder."""
    numbered = index.vocabulary()
    if list(encoder.vocabulary) != list(numbered[: len(encoder.vocabulary)]):
        # It has met others: documents that fill another index, or were not added in the end.
        encoder.forget_words()
    encoder.extend_vocabulary(numbered[len(encoder.vocabulary) :])


def _bm25(index: Index, settings: dict[str, Any]) -> Encoder:
    from lsr.encoders.bm25 import Bm25Encoder
    from lsr.encoders.bm25_settings import Bm25Settings

    values = {name: value for name, value in settings.items() if name != "kind"}
    if values.get("tokens") == "pieces":
        values["tokenizer"] = str(index.encoder_folder)
    return Bm25Encoder(Bm25Settings.from_values(values), index.vocabulary())


def _learned(source: str | Path | Encoder, settings: dict[str, Any], options: EncoderOptions) -> Encoder:
    if not isinstance(source, (str, Path)):
        return source
    from lsr.encoders import load_encoder

    if str(source) == "bm25":  # To be refused, which its settings would forestall.
        return load_encoder(source)
    if settings.get("kind") == "composition":
        options = dataclasses.replace(
            options,
            settings={},
            max_length=settings.get("max_length"),
            max_terms=settings.get("max_terms"),
            long_documents=settings.get("long_documents", "cut"),
            idf=None,
        )
    else:
        named = {name: value for name, value in settings.items() if value is not None}
        options = dataclasses.replace(
            options, settings=named, max_length=None, max_terms=None, idf=None, long_documents="cut"
        )
    try:
        return load_encoder(source, options)
    except UserError as error:
        raise UserError(
            f"the encoder that filled the index cannot be loaded: {error} "
            "Name the place where it lies now with --encoder."
        ) from None


def _check_same(index: Index, encoder: Encoder) -> None:
    """Refuse an encoder that is not the one that filled the index."""
    filled_by = index.manifest.encoder
    if encoder.fingerprint() != filled_by["fingerprint"]:
        raise UserError(
            f"{index.folder} was filled by the encoder {filled_by['name']}, and {encoder.name} is not the "
            "same (other weights, tokenizer or settings); leave out --encoder, or index the corpus with it."
        )
