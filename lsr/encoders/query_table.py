"""The model-free query side of a checkpoint: its weight table, settled from what the folder holds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lsr.encoders.bag_of_tokens import BagOfTokensQueryEncoder
from lsr.encoders.checkpoint import Checkpoint
from lsr.encoders.idf import read_idf_json, read_query_factors
from lsr.encoders.tokenization import load_tokenizer, saved_max_length, special_token_ids, terms_by_id
from lsr.encoders.word_terms import WordLookup
from lsr.errors import UserError


def query_side(checkpoint: Checkpoint, tokenizer: Tokenizer, width: int) -> BagOfTokensQueryEncoder | None:
    """Return the query side of `checkpoint`, `width` terms wide; None for ``splade``.

    Under the rule ``keep`` the table is used as it was saved, as SparseStaticEmbedding does; under
    ``zero`` no special token, [UNK] among them, ever enters a query, as in OpenSearch.
    """
    settings = checkpoint.settings
    if settings.kind == "splade":
        return None
    longest = settings.query_max_length or settings.max_length
    factors = None
    if settings.kind == "inference-free" and checkpoint.factors_path is not None:
        factors = read_query_factors(checkpoint.factors_path, tokenizer, width)
    if settings.kind == "splade-doc":
        table = np.ones(width, dtype=np.float32)
    elif checkpoint.static is not None:
        tokenizer = load_tokenizer(checkpoint.static)
        longest = settings.query_max_length or saved_max_length(checkpoint.static)
        table = _static_table(checkpoint, tokenizer, width)
    elif checkpoint.idf_path is not None:
        table = read_idf_json(checkpoint.idf_path, tokenizer, width)
    else:
        table = np.ones(width, dtype=np.float32)
    if factors is not None and checkpoint.static is None:
        table = table * factors
    if settings.special_tokens == "zero" or settings.kind == "splade-doc":
        special = special_token_ids(tokenizer)
        table[special[special < width]] = 0
    words = None
    if settings.terms == "words":
        words = WordLookup.of(terms_by_id(tokenizer, width, checkpoint.backbone))
    return BagOfTokensQueryEncoder(
        tokenizer,
        table,
        factors=factors,
        kind=settings.kind,
        idf=settings.idf,
        max_length=longest,
        max_terms=settings.max_active_dims,
        prompt=settings.query_prompt,
        words=words,
        k3=settings.query_k3,
    )


def _static_table(checkpoint: Checkpoint, tokenizer: Tokenizer, width: int) -> NDArray[np.float32]:
    from lsr.encoders.sentence_transformers_form import read_static_weights

    assert checkpoint.static is not None
    weights = read_static_weights(checkpoint.static)
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if weights.size <= highest or highest >= width:
        raise UserError(
            f"{checkpoint.static} has {weights.size} weights for token ids up to {highest}, and the document "
            f"model {width} outputs; query and document side do not belong together."
        )
    table = np.zeros(width, dtype=np.float32)
    table[: min(width, weights.size)] = weights[:width]
    return table
