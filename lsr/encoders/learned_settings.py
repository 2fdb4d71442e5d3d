"""What changes the output of a learned encoder, as one record."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lsr.encoders.base import IdfSource
from lsr.encoders.options import EncoderOptions, LongDocuments
from lsr.errors import UserError

Kind = Literal["splade", "splade-doc", "inference-free"]
Pooling = Literal["max", "sum"]
Activation = Literal["log1p", "double-log1p"]
SpecialTokens = Literal["keep", "zero"]
Precision = Literal["float32", "bfloat16", "float16", "int8"]
Terms = Literal["pieces", "words"]
PooledTokens = Literal["all", "content"]


@dataclass(frozen=True, slots=True)
class LearnedSettings:
    """Settings of a learned encoder; every one of them can change a vector.

    `kind`: how queries are encoded. ``splade`` (arXiv 2107.05720, 2109.10086) runs the model on
    them, ``splade-doc`` (2109.10086) gives each of their pieces weight 1, ``inference-free``
    (2411.04403) gives each its IDF.
    `pooling`: over the tokens of a text, ``max`` (2109.10086) or ``sum`` (2107.05720).
    `activation`: ``log1p`` is ln(1 + relu(x)); ``double-log1p`` is ln(1 + ln(1 + relu(x)))
    (2504.14839).
    `special_tokens`: ``keep`` what the head gives for [CLS] and its like, as sentence-transformers
    does, or ``zero`` it in documents and queries, as OpenSearch does.
    `max_length`, `query_max_length`: tokens, special ones included; None takes what the checkpoint
    was saved with.
    `max_active_dims`: heaviest terms kept in documents and queries alike; `max_terms`: in documents.
    `pooled_tokens`: the tokens whose logits are pooled, ``all`` or those that are neither stop words nor
    punctuation (``content``, [CLS] among them); the model reads all of them either way.
    `terms`: ``pieces`` are the tokenizer's; with ``words`` forms of a word share a term and words that are
    no piece have one of their own (`lsr.encoders.word_terms`).
    `lexical_weight`: how much of BM25's saturated term frequency is added to the weights of a document's
    own terms: pieces, or words with ``terms=words`` (`lsr.encoders.lexical`).
    `query_k3`: a term that stands n times in a query without a model weighs (k3 + 1) n / (k3 + n) times what it
    weighs once, as in Okapi BM25 (Robertson et al., TREC-3, 1994); 0, as published models have it, counts a
    term once.
    `precision`: of the model's arithmetic; pooling and activation are always float32. ``int8``, for
    BERT with maximum pooling, multiplies integers on a processor (`lsr.encoders.int8_bert`) and is
    float32 elsewhere.
    """

    kind: Kind = "splade"
    pooling: Pooling = "max"
    activation: Activation = "log1p"
    special_tokens: SpecialTokens = "keep"
    max_length: int | None = None
    query_max_length: int | None = None
    max_active_dims: int | None = None
    max_terms: int | None = None
    long_documents: LongDocuments = "cut"
    idf: IdfSource = "training"
    document_prompt: str = ""
    query_prompt: str = ""
    lowercase: bool = False
    pooled_tokens: PooledTokens = "all"
    terms: Terms = "pieces"
    lexical_weight: float = 0.0
    query_k3: float = 0.0
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise UserError(f"the encoder setting {name}={value} is not one of {', '.join(allowed)}.")
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise UserError(f"the encoder setting {name}={value} is not a whole number of at least 1.")
        for name in ("document_prompt", "query_prompt"):
            if not isinstance(getattr(self, name), str):
                raise UserError(f"the encoder setting {name}={getattr(self, name)} is not text.")
        for name in ("lexical_weight", "query_k3"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise UserError(f"the encoder setting {name}={value} is not a number of at least 0.")
        if not isinstance(self.lowercase, bool):
            raise UserError(f"the encoder setting lowercase={self.lowercase} is not true or false.")

    def changed(self, changes: Mapping[str, Any], origin: str) -> LearnedSettings:
        """Return a copy with `changes` applied; unknown names are a `UserError` naming `origin`."""
        unknown = sorted(set(changes) - set(FIELD_NAMES))
        if unknown:
            raise UserError(
                f"{origin}: {unknown[0]!r} is not a setting of a learned encoder; "
                f"there are {', '.join(sorted(FIELD_NAMES))} and revision."
            )
        return dataclasses.replace(self, **dict(changes))

    def with_options(self, options: EncoderOptions) -> LearnedSettings:
        """Return a copy on which everything given in `options` has won."""
        named = {name: value for name, value in options.settings.items() if name != "revision"}
        settings = self.changed(named, "--encoder-option")
        given: dict[str, Any] = {}
        if options.max_length is not None:
            given["max_length"] = options.max_length
            if settings.query_max_length is not None:
                given["query_max_length"] = min(settings.query_max_length, options.max_length)
        if options.max_terms is not None:
            given["max_terms"] = options.max_terms
        if options.idf is not None:
            given["idf"] = options.idf
        if options.long_documents != "cut":
            given["long_documents"] = options.long_documents
        return dataclasses.replace(settings, **given)

    def as_json(self) -> dict[str, Any]:
        """Return the settings as JSON values, by name."""
        return dataclasses.asdict(self)

    def of_documents(self) -> dict[str, Any]:
        """Return what documents' vectors depend on, for a fingerprint.

        Settings younger than the first indexes are left out where they change nothing, so that those stay
        their encoder's.
        """
        first = {"lexical_weight": 0.0, "terms": "pieces", "pooled_tokens": "all"}
        return {
            name: value
            for name, value in self.as_json().items()
            if name not in QUERY_ONLY and not (name in first and value == first[name])
        }

    def document_limit(self) -> int | None:
        """Return how many terms a document may keep; None for all."""
        limit = min(self.max_active_dims or math.inf, self.max_terms or math.inf)
        return None if limit == math.inf else int(limit)


FIELD_NAMES = tuple(field.name for field in dataclasses.fields(LearnedSettings))
# Settings that leave documents as they are.
QUERY_ONLY = ("kind", "idf", "query_max_length", "query_prompt", "query_k3")
_CHOICES: dict[str, tuple[str, ...]] = {
    "kind": get_args(Kind),
    "pooling": get_args(Pooling),
    "activation": get_args(Activation),
    "special_tokens": get_args(SpecialTokens),
    "long_documents": get_args(LongDocuments),
    "idf": get_args(IdfSource),
    "precision": get_args(Precision),
    "terms": get_args(Terms),
    "pooled_tokens": get_args(PooledTokens),
}
_COUNTS = ("max_length", "query_max_length", "max_active_dims", "max_terms")
