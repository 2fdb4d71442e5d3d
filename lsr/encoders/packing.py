"""Writing an encoder in the form in which the package ships its own: a quarter of the size.

A folder of `packed.safetensors` (`lsr.encoders.packed_weights`), config.json, the tokenizer,
``idf.json`` and, where the model has any, ``query_factors.json`` and ``head_rows.npy``, and
``lsr_encoder.json`` with the settings. It loads like any other folder; `LearnedEncoder.save` turns it
into an ordinary checkpoint.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lsr.encoders.checkpoint import FACTORS_FILE, HEAD_ROWS_FILE, IDF_FILE, OWN_CONFIG
from lsr.encoders.packed_weights import PACKED_FILE, write_packed
from lsr.encoders.saving import write_token_table, write_tokenizer
from lsr.errors import UserError
from lsr.whole_folder import written_whole

if TYPE_CHECKING:
    from lsr.encoders.learned import LearnedEncoder


def pack_encoder(
    encoder: LearnedEncoder,
    folder: Path,
    *,
    settings: dict[str, Any] | None = None,
    head_rows: NDArray[np.int64] | None = None,
) -> dict[str, float]:
    """Write `encoder`, an inference-free one, into the new folder `folder`.

    `settings` win over the encoder's own, by name; ``precision`` is ``int8`` unless they say
    otherwise. `head_rows` are the terms that expansion may reach under ``int8``, as `rows_in_use`
    finds them. Returns the relative error of each matrix that became int8.
    """
    query = encoder.query_side
    if query is None or encoder.settings["kind"] != "inference-free":
        raise UserError(f"{encoder.name} is no inference-free encoder, so its queries cannot be packed.")
    own = _untruncated(encoder)
    if query.tokenizer.to_str() != own:
        raise UserError(f"{encoder.name} tokenizes queries and documents in two ways and cannot be packed.")
    chosen = dataclasses.replace(
        encoder.checkpoint.settings, **{"precision": "int8", "lowercase": False, **(settings or {})}
    )
    with written_whole(folder) as draft:
        with encoder.model.whole() as model:
            model.config.save_pretrained(draft)
            errors = write_packed(model.state_dict(), draft / PACKED_FILE)
        write_tokenizer(encoder.tokenizer, encoder.checkpoint.backbone, draft, chosen.max_length)
        for name in ("vocab.txt", "special_tokens_map.json", "added_tokens.json"):
            # tokenizer.json holds all of it.
            (draft / name).unlink(missing_ok=True)
        factors = np.ones_like(query.table) if query.factors is None else query.factors
        idf = np.divide(query.table, factors, out=np.zeros_like(query.table), where=factors > 0)
        write_token_table(draft / IDF_FILE, encoder.vocabulary, idf, 0.0)
        if query.factors is not None:
            write_token_table(draft / FACTORS_FILE, encoder.vocabulary, query.factors, 1.0)
        if head_rows is not None:
            np.save(draft / HEAD_ROWS_FILE, np.unique(head_rows).astype(np.int32), allow_pickle=False)
        record = json.dumps({"format": 1, **chosen.as_json()}, indent=2)
        (draft / OWN_CONFIG).write_text(record + "\n", encoding="utf-8")
    return errors


def rows_in_use(encoder: LearnedEncoder, texts: Sequence[str], least: int = 1) -> NDArray[np.int64]:
    """Return the terms of the model that at least `least` of `texts` have among those they keep, ascending."""
    weights = encoder.encode_documents(texts)
    # Terms of words, numbered behind the model's, are no rows of its head.
    counts = np.bincount(weights.indices, minlength=weights.shape[1])[: encoder.model.vocabulary_size]
    found: NDArray[np.int64] = np.flatnonzero(counts >= least)
    return found


def _untruncated(encoder: LearnedEncoder) -> str:
    # Truncation is left from the last use and set again at the next.
    encoder.tokenizer.no_truncation()
    return encoder.tokenizer.to_str()
