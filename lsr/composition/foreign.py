"""Between compositions and the encoders that sentence-transformers knows: SPLADE and inference-free."""

from __future__ import annotations

from lsr.composition.model import SparseModel
from lsr.composition.query_table import QueryTable
from lsr.composition.settings import ModelSettings, QueryKind, QuerySettings, SideSettings
from lsr.composition.side import Side
from lsr.encoders.bag_of_tokens import BagOfTokensQueryEncoder
from lsr.encoders.checkpoint import Checkpoint
from lsr.encoders.learned import LearnedEncoder
from lsr.encoders.learned_settings import LearnedSettings
from lsr.encoders.masked_lm import MaskedLanguageModel
from lsr.encoders.tokenization import load_tokenizer
from lsr.errors import UserError


def learned_settings(model: SparseModel) -> LearnedSettings | None:
    """Return the settings of `model` as a learned encoder's; None where it has parts that those lack."""
    side, query = model.settings.document, model.settings.query
    if side.activation == "log1p" or side.activation == "double-log1p":
        activation = side.activation
    else:
        return None
    plain_side = SideSettings(
        backbone=side.backbone,
        pooling=side.pooling,
        activation=side.activation,
        top_k=side.top_k,
        special_tokens=side.special_tokens,
        max_length=side.max_length,
        prompt=side.prompt,
        frozen=side.frozen,
        precision=side.precision,
    )
    if side != plain_side or query.kind == "separate":
        return None
    if isinstance(model.query, Side):
        twin = model.query.settings
        if twin.pooling != side.pooling or twin.top_k != side.top_k:
            return None
    elif side.top_k is not None:
        # max_active_dims would cut queries too.
        return None
    projection = model.document.backbone.projection
    if side.special_tokens == "zero" and (projection is None or projection.bias is None):
        return None
    kinds: dict[QueryKind, LearnedSettings] = {
        "same": LearnedSettings(kind="splade"),
        "binary": LearnedSettings(kind="splade-doc"),
    }
    base = kinds.get(query.kind, LearnedSettings(kind="inference-free"))
    return base.changed(
        {
            "pooling": side.pooling,
            "activation": activation,
            "special_tokens": side.special_tokens,
            "max_length": side.max_length,
            "query_max_length": query.max_length if query.max_length != side.max_length else None,
            "max_active_dims": side.top_k,
            "document_prompt": side.prompt,
            "query_prompt": query.prompt,
            "precision": side.precision,
        },
        "the composition",
    )


def as_learned_encoder(model: SparseModel, settings: LearnedSettings) -> LearnedEncoder:
    """Return a copy of `model` on the processor as a learned encoder with `settings`."""
    backbone = model.document.backbone
    tokenizer = load_tokenizer(backbone.folder)
    query: BagOfTokensQueryEncoder | None = None
    if isinstance(model.query, QueryTable):
        query = BagOfTokensQueryEncoder(
            load_tokenizer(backbone.folder),
            model.query.as_array(),
            kind=settings.kind,
            max_length=model.settings.query.max_length,
            prompt=settings.query_prompt,
        )
    return LearnedEncoder(
        MaskedLanguageModel(backbone.whole_copy().to("cpu"), str(backbone.folder)),
        tokenizer,
        Checkpoint(str(backbone.folder), backbone.folder, backbone.folder, settings),
        query=query,
    )


def settings_of_checkpoint(checkpoint: Checkpoint) -> ModelSettings:
    """Return the composition that the encoder in `checkpoint` is, to train it further."""
    settings = checkpoint.settings
    if settings.lowercase:
        raise UserError(
            f"{checkpoint.source} lowers texts outside its tokenizer; "
            "save it with lsr.load_encoder(...).save(folder) first, and start from that folder."
        )
    kinds: dict[str, QueryKind] = {"splade": "same", "splade-doc": "binary", "inference-free": "idf"}
    return ModelSettings(
        document=SideSettings(
            pooling=settings.pooling,
            activation=settings.activation,
            top_k=settings.max_active_dims,
            special_tokens=settings.special_tokens,
            max_length=settings.max_length,
            prompt=settings.document_prompt,
            # Integers are a form to run, not to train.
            precision="float32" if settings.precision == "int8" else settings.precision,
        ),
        query=QuerySettings(
            kind=kinds[settings.kind], max_length=settings.query_max_length, prompt=settings.query_prompt
        ),
    )
