"""Inverse document frequencies: from a checkpoint, or of the corpus that is searched."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lsr.errors import UserError


def read_idf_json(path: Path, tokenizer: Tokenizer, width: int) -> NDArray[np.float32]:
    """Return the IDF of every id, shape (width,), from OpenSearch's ``idf.json``: token to IDF.

    Tokens that the file leaves out get 0, as OpenSearch gives them. Raises `UserError` where the
    file is no such object, holds a token that the tokenizer lacks, or a number that is not finite
    and at least 0.
    """
    return _token_table(path, tokenizer, width, "IDF", 0.0)


def read_query_factors(path: Path, tokenizer: Tokenizer, width: int) -> NDArray[np.float32]:
    """Return the factor of every id, shape (width,), from ``query_factors.json``: token to factor.

    A token's query weight is its factor times its IDF, wherever the IDF comes from; tokens that
    the file leaves out have factor 1. Raises `UserError` as `read_idf_json` does.
    """
    return _token_table(path, tokenizer, width, "factor", 1.0)


def _token_table(
    path: Path, tokenizer: Tokenizer, width: int, what: str, otherwise: float
) -> NDArray[np.float32]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}); download it again.") from None
    if not isinstance(table, dict) or not table:
        raise UserError(f"{path} does not hold a JSON object of tokens and their {what}; download it again.")
    found = np.full(width, otherwise, dtype=np.float32)
    for token, value in table.items():
        token_id = tokenizer.token_to_id(token)
        if token_id is None or token_id >= width:
            raise UserError(
                f"{path} has the token {token!r}, which the tokenizer beside it lacks; "
                f"{path.name} and tokenizer do not belong together."
            )
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
            or value < 0
        ):
            raise UserError(
                f"{path} gives the token {token!r} the {what} {value!r}; it must be a number of at least 0."
            )
        found[token_id] = value
    return found


def corpus_idf(document_count: int, document_frequencies: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return ln(1 + (N - df + 0.5) / (df + 0.5)) of each term, shape (terms,), float32.

    Lucene's BM25 IDF: above 0 for every term, even one that all documents hold.
    """
    df = document_frequencies.astype(np.float64)
    return np.log1p((document_count - df + 0.5) / (df + 0.5)).astype(np.float32)
