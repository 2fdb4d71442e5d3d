"""What an encoder is composed of, as records that a YAML file's ``model`` section fills.

The parts follow "A Unified Framework for Learned Sparse Retrieval" (arXiv 2303.13416): every head,
pooling, activation and gate goes with every backbone and every query side, as far as it makes sense.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lsr.composition.reading import plain, read_record
from lsr.errors import UserError

Head = Literal["mlm", "cls-mlm", "causal-lm", "token-mlp", "dense"]
Pooling = Literal["max", "sum"]
DensePooling = Literal["mean", "cls", "last"]
Activation = Literal["log1p", "double-log1p", "relu", "softplus", "log1p-softplus"]
Gate = Literal["none", "lexical", "controller", "importance-quality"]
SpecialTokens = Literal["keep", "zero"]
Precision = Literal["float32", "bfloat16", "float16"]
QueryKind = Literal["same", "separate", "idf", "table", "binary"]


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """Low-rank adapters (arXiv 2106.09685) on the linear layers named by `targets`.

    Defaults: those of Mistral-SPLADE.
    """

    rank: int = 16
    alpha: int = 8
    dropout: float = 0.1
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

    def __post_init__(self) -> None:
        _at_least_one("lora", rank=self.rank, alpha=self.alpha)


@dataclass(frozen=True, slots=True)
class AutoencoderSettings:
    """A TopK sparse autoencoder on the dense embedding (CSR, arXiv 2503.01776).

    `expansion`: latents for each embedding dimension. `active`: latents kept a text (k).
    `auxiliary`: dead latents that reconstruct what the k leave over; a latent is dead after
    `dead_after` batches without use. The weights multiply the auxiliary losses:
    L_k + `wide_weight` L_4k + `dead_weight` L_aux.
    """

    expansion: int = 4
    active: int = 32
    auxiliary: int = 512
    dead_after: int = 30
    wide_weight: float = 0.125
    dead_weight: float = 0.03125

    def __post_init__(self) -> None:
        _at_least_one(
            "autoencoder",
            expansion=self.expansion,
            active=self.active,
            auxiliary=self.auxiliary,
            dead_after=self.dead_after,
        )


@dataclass(frozen=True, slots=True)
class SideSettings:
    """One side: a backbone with a head, a pooling, an activation and optional parts.

    `backbone`: a folder or a Hugging Face id; empty for that of the model.
    `head`: ``mlm``, every token's logits over the vocabulary; ``cls-mlm``, the first token's alone
    (TILDE); ``causal-lm``, a decoder's; ``token-mlp``, one weight for each of the text's own tokens,
    by `layers` linear layers; ``dense``, an embedding, through a linear layer to `dimensions` or an
    `autoencoder`, with `dense_pooling` over the tokens.
    `pooling`: over tokens, or over the repeats of a token with ``token-mlp``.
    `activation`, of a logit x: ``log1p`` ln(1 + relu(x)), ``double-log1p`` ln(1 + ln(1 + relu(x))),
    ``relu``, ``softplus`` ln(1 + e^x), ``log1p-softplus`` ln(1 + softplus(x)).
    `gate`: ``lexical`` leaves a text its own tokens only; ``controller`` is SparTerm's learned binary
    gate; ``importance-quality`` EPIC's weights of tokens and of the whole text.
    `top_k`: heaviest terms kept. `special_tokens`: ``zero`` takes [CLS] and its like out of the output.
    `echo`: the text is read twice and its second copy is pooled, so that a decoder's tokens have seen
    all of it. `bidirectional`: a decoder's tokens attend to later ones as well.
    `frozen`: the backbone is not trained.
    """

    backbone: str = ""
    head: Head = "mlm"
    pooling: Pooling = "max"
    activation: Activation = "log1p"
    gate: Gate = "none"
    top_k: int | None = None
    special_tokens: SpecialTokens = "keep"
    max_length: int | None = None
    prompt: str = ""
    echo: bool = False
    bidirectional: bool = False
    frozen: bool = False
    layers: int = 1
    dense_pooling: DensePooling = "mean"
    dimensions: int | None = None
    autoencoder: AutoencoderSettings | None = None
    lora: LoraSettings | None = None
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        _at_least_one(
            "a side",
            top_k=self.top_k,
            max_length=self.max_length,
            layers=self.layers,
            dimensions=self.dimensions,
        )
        if self.head not in VOCABULARY_HEADS and self.gate in ("controller", "importance-quality"):
            raise UserError(
                f"gate: {self.gate} needs logits over the vocabulary; use it with head: mlm, or gate: none."
            )
        if self.head == "dense" and self.gate == "lexical":
            raise UserError("gate: lexical needs terms that are tokens; a dense head has none.")
        if self.head != "dense" and (self.autoencoder is not None or self.dimensions is not None):
            raise UserError("autoencoder and dimensions belong to head: dense.")
        if self.autoencoder is not None and self.dimensions is not None:
            raise UserError("dimensions and autoencoder exclude each other; leave one out.")


@dataclass(frozen=True, slots=True)
class QuerySettings:
    """How queries are encoded.

    `kind`: ``same``, by the document side, except for what `pooling`, `top_k`, `max_length` and
    `prompt` change; ``separate``, by the side `encoder`, whose backbone is its own unless
    `share_backbone`; ``idf``, each distinct piece with its IDF (arXiv 2411.04403), `learnable` or
    not, from the file `idf` in OpenSearch's form or from the training documents; ``table``, each
    distinct piece with a learned weight (Li-LSR, arXiv 2505.01452); ``binary``, each with 1.
    """

    kind: QueryKind = "same"
    encoder: SideSettings | None = None
    share_backbone: bool = False
    learnable: bool = False
    idf: str | None = None
    pooling: Pooling | None = None
    top_k: int | None = None
    max_length: int | None = None
    prompt: str = ""

    def __post_init__(self) -> None:
        _at_least_one("query", top_k=self.top_k, max_length=self.max_length)
        if (self.kind == "separate") != (self.encoder is not None):
            raise UserError("query: kind: separate and the settings of an encoder go together; give both.")
        if self.kind != "idf" and (self.learnable or self.idf is not None):
            raise UserError("query: learnable and idf belong to kind: idf.")

    @property
    def is_table(self) -> bool:
        """Whether queries are weighed by a look-up, without a model."""
        return self.kind in ("idf", "table", "binary")


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """A document side and a query side. `backbone` serves every side that names none itself."""

    backbone: str = ""
    document: SideSettings = field(default_factory=SideSettings)
    query: QuerySettings = field(default_factory=QuerySettings)

    def __post_init__(self) -> None:
        if self.document.head == "dense" and self.query.is_table:
            raise UserError(
                f"query: kind: {self.query.kind} weighs tokens, and a dense head's terms are no tokens; "
                "use kind: same."
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelSettings:
        """Read the ``model`` section of a YAML file; mistakes are a `UserError` naming their place."""
        return read_record(cls, values, "model")

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values that `from_dict` reads back."""
        values: dict[str, Any] = plain(self)
        return values

    def with_backbone(self, backbone: str, query_backbone: str | None = None) -> ModelSettings:
        """Return a copy on other backbones; a separate query side takes `query_backbone` if given."""
        query = self.query
        if query.encoder is not None:
            encoder = dataclasses.replace(query.encoder, backbone=query_backbone or backbone)
            query = dataclasses.replace(query, encoder=encoder)
        document = dataclasses.replace(self.document, backbone="")
        return dataclasses.replace(self, backbone=backbone, document=document, query=query)


VOCABULARY_HEADS: tuple[Head, ...] = ("mlm", "cls-mlm", "causal-lm")


def _at_least_one(owner: str, **values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < 1:
            raise UserError(f"{owner}: {name} is {value}; it must be at least 1.")
