"""From a name, a folder or a Hugging Face id to an encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lsr.encoders.base import Encoder, QueryEncoder
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError

QUERY_ENCODER_FILE = "query_encoder.json"
COMPOSITION_WEIGHTS = "composition.safetensors"


def load_encoder(source: str | Path, options: EncoderOptions | None = None) -> Encoder:
    """Load an encoder.

    `source` is ``bm25``, ``default`` or ``default-tiny`` (the package's own models), a folder, or a
    Hugging Face id. A folder or id may hold a masked language
    model (``splade`` unless the setting ``kind`` says otherwise), one with an ``idf.json`` beside it
    (the OpenSearch form: ``inference-free``), a SparseEncoder of sentence-transformers, or any
    composition that `lsr.composition.model.SparseModel` saved.
    Raises `UserError` where the source is missing, gated, incomplete or of another make.
    """
    options = options or EncoderOptions()
    if str(source) == "bm25":
        from lsr.encoders.bm25 import Bm25Encoder

        return Bm25Encoder.from_options(options)
    from lsr.encoders.hub import resolve_source

    revision = options.settings.get("revision")
    folder = resolve_source(str(source), None if revision is None else str(revision))
    if (folder / COMPOSITION_WEIGHTS).is_file():
        from lsr.composition.encoder import ComposedEncoder

        return ComposedEncoder.load(str(source), options)
    from lsr.encoders.learned import LearnedEncoder

    return LearnedEncoder.load(str(source), options)


def load_query_encoder(folder: str | Path, options: EncoderOptions | None = None) -> QueryEncoder:
    """Load the query side that `Encoder.save_query_side` wrote into `folder`.

    Of `options`, those that cannot change a document count: ``idf`` where it is given, and for
    encoders that run a model on queries ``device``, ``threads`` and ``batch_size``. Neither torch
    nor transformers is loaded, except when a ``splade`` encoder encodes its first query.
    """
    folder = Path(folder)
    options = options or EncoderOptions()
    path = folder / QUERY_ENCODER_FILE
    record = read_query_record(path)
    kind = record.get("kind")
    if kind == "bm25":
        from lsr.encoders.bm25 import load_bm25_query_encoder

        return load_bm25_query_encoder(folder)
    if kind in ("inference-free", "splade-doc"):
        from lsr.encoders.bag_of_tokens import BagOfTokensQueryEncoder

        return BagOfTokensQueryEncoder.load(folder, record, idf=options.idf)
    if kind == "external":
        from lsr.encoders.external import ExternalQueryEncoder

        return ExternalQueryEncoder()
    if kind == "splade":
        from lsr.encoders.model_query import ModelQueryEncoder

        return ModelQueryEncoder.from_record(record, options)
    if kind == "composition":
        from lsr.composition.late_query import LateQueryEncoder

        return LateQueryEncoder(record, options)
    raise UserError(
        f"{path} names the encoder kind {kind!r}, which this version of lsr does not know; "
        "search with the version that built the index."
    )


def read_query_record(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`, or raise `UserError`."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing, so queries cannot be encoded; build the index again.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); build the index again.") from None
    if not isinstance(record, dict):
        raise UserError(f"{path} does not hold a JSON object; build the index again.")
    return record
