"""An encoder as one PyTorch module: a document side and a query side, built from settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lsr.composition.backbone import Backbone, check_same_vocabulary
from lsr.composition.query_table import QueryTable
from lsr.composition.settings import ModelSettings, QuerySettings, SideSettings
from lsr.composition.side import Side
from lsr.composition.tokens import TextTokenizer
from lsr.composition.types import SideOutput, TokenBatch
from lsr.encoders.idf import corpus_idf, read_idf_json
from lsr.encoders.tokenization import (
    load_tokenizer,
    piece_sets,
    saved_max_length,
    special_token_ids,
    terms_by_id,
)
from lsr.errors import UserError


class SparseModel(nn.Module):
    """A trainable encoder; fulfils `lsr.composition.types.TrainableEncoder`.

    Term weights are float32, at least 0, shape (texts, vocabulary). `needs_idf` is true while an IDF
    look-up still waits for the documents to be counted; see `fit_idf`.
    """

    def __init__(self, settings: ModelSettings, document: Backbone, query: Backbone | None) -> None:
        """Put the parts together on loaded backbones; `query` is that of a separate query side."""
        super().__init__()
        tokenizer = load_tokenizer(document.folder)
        special = torch.from_numpy(special_token_ids(tokenizer))
        side = _with_length(settings.document, document)
        self.document = Side(side, document, special[special < document.vocabulary_size])
        query_tokenizer, query_length = tokenizer, settings.query.max_length or side.max_length
        self.query: Side | QueryTable
        if settings.query.is_table:
            self.query = QueryTable(settings.query, self.document.width, special)
        elif settings.query.encoder is None:
            twin = _query_twin(side, settings.query)
            self.query = Side(twin, document, self.document.special, self.document.parts)
            query_length = twin.max_length
        else:
            backbone = query or document
            encoder = _with_length(settings.query.encoder, backbone)
            query_tokenizer = load_tokenizer(backbone.folder)
            if query_tokenizer.get_vocab() != tokenizer.get_vocab():
                raise UserError(
                    "document and query side have different tokenizers, so their terms do not match; "
                    "give both sides backbones with the same vocabulary."
                )
            self.query = Side(encoder, backbone, self.document.special)
            check_same_vocabulary(self.document.width, self.query.width)
            settings = _with_query_encoder(settings, encoder)
            query_length = settings.query.max_length or encoder.max_length
        self.settings = dataclasses.replace(
            settings, document=side, query=dataclasses.replace(settings.query, max_length=query_length)
        )
        padding = int(getattr(document.config, "pad_token_id", None) or 0)
        self.document_tokenizer = TextTokenizer(
            tokenizer, side.max_length, side.prompt, special=True, padding_id=padding
        )
        prompt = settings.query.prompt or (settings.query.encoder.prompt if settings.query.encoder else "")
        self.query_tokenizer = TextTokenizer(
            query_tokenizer,
            query_length,
            prompt,
            special=not settings.query.is_table,
            padding_id=padding,
        )
        self.needs_idf = settings.query.kind == "idf"

    @classmethod
    def from_settings(cls, settings: ModelSettings) -> SparseModel:
        """Build a model on pretrained backbones.

        An IDF look-up takes the file ``query.idf``, else an ``idf.json`` beside the backbone, else
        waits for `fit_idf`. Raises `UserError` where a backbone is missing or does not fit its head.
        """
        document = Backbone.load(settings.document.backbone or settings.backbone, settings.document)
        query: Backbone | None = None
        encoder = settings.query.encoder
        if encoder is not None and not settings.query.share_backbone:
            query = Backbone.load(encoder.backbone or settings.backbone, encoder)
        model = cls(settings, document, query)
        if isinstance(model.query, QueryTable) and settings.query.kind == "idf":
            path = Path(settings.query.idf) if settings.query.idf else document.folder / "idf.json"
            if settings.query.idf or path.is_file():
                tokenizer = model.document_tokenizer.tokenizer
                model.set_query_weights(read_idf_json(path, tokenizer, model.vocabulary_size))
        return model

    @classmethod
    def load(cls, folder: str | Path) -> SparseModel:
        """Load what `save` wrote, or any sparse encoder that `lsr.load_encoder` loads, to train on."""
        from lsr.composition.saving import load_model

        return load_model(str(folder))

    def save(self, folder: str | Path) -> None:
        """Write a new folder that `lsr.load_encoder` loads and that gives the same vectors.

        SPLADE, SPLADE-doc and inference-free models are saved so that sentence-transformers loads
        them too; see `lsr.composition.saving`.
        """
        from lsr.composition.saving import save_model

        save_model(self, Path(folder))

    @property
    def vocabulary_size(self) -> int:
        """The width of weights."""
        return self.document.width

    @property
    def module(self) -> nn.Module:
        """All parameters: the model itself."""
        return self

    @property
    def terms(self) -> list[str]:
        """The term of every id; the latents of dense heads are numbered."""
        if self.settings.document.head == "dense":
            return [f"[latent {number}]" for number in range(self.vocabulary_size)]
        backbone = self.document.backbone
        return terms_by_id(self.document_tokenizer.tokenizer, self.vocabulary_size, backbone.folder)

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return next(self.parameters()).device

    def forward(self, queries: TokenBatch, documents: TokenBatch) -> tuple[SideOutput, SideOutput]:
        """Return what both sides make of a batch; for wrappers that want one call."""
        return self.query_side(queries), self.document_side(documents)

    def tokenize_documents(self, texts: Sequence[str]) -> TokenBatch:
        """Return the tokens of documents, cut at the encoder's length."""
        return self.document_tokenizer.batch(texts)

    def tokenize_queries(self, texts: Sequence[str]) -> TokenBatch:
        """Return the tokens of queries, cut at the encoder's length."""
        return self.query_tokenizer.batch(texts)

    def document_side(self, batch: TokenBatch) -> SideOutput:
        """Return document weights with gradients, shape (texts, vocabulary)."""
        output: SideOutput = self.document(batch)
        return output

    def query_side(self, batch: TokenBatch) -> SideOutput:
        """Return query weights, shape (texts, vocabulary); a fixed look-up has no gradients."""
        output: SideOutput = self.query(batch)
        return output

    def fit_idf(self, texts: Sequence[str]) -> None:
        """Give an IDF look-up the IDF of `texts`, the training documents, as far as they are read."""
        counts = np.zeros(self.vocabulary_size, dtype=np.int64)
        for pieces in piece_sets(self.document_tokenizer.tokenizer, texts, self.settings.document.max_length):
            counts[pieces] += 1
        self.set_query_weights(corpus_idf(len(texts), counts))

    def set_query_weights(self, weights: NDArray[np.float32]) -> None:
        """Start the query look-up from `weights`, shape (vocabulary,)."""
        if not isinstance(self.query, QueryTable):
            raise UserError(f"query: kind: {self.settings.query.kind} has no look-up to give weights to.")
        self.query.set_weights(weights)
        self.needs_idf = False

    def table_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the query look-up, which wants a learning rate of its own."""
        return list(self.query.parameters()) if isinstance(self.query, QueryTable) else []


def _with_length(side: SideSettings, backbone: Backbone) -> SideSettings:
    """Settle `max_length`: asked for, else the tokenizer's, within what the backbone can read."""
    positions = backbone.max_length
    if positions is not None and side.echo:
        positions //= 2
    limits = [side.max_length or saved_max_length(backbone.folder), positions]
    known = [limit for limit in limits if limit]
    return dataclasses.replace(side, max_length=min(known) if known else None)


def _query_twin(side: SideSettings, query: QuerySettings) -> SideSettings:
    known = [limit for limit in (query.max_length, side.max_length) if limit]
    return dataclasses.replace(
        side,
        pooling=query.pooling or side.pooling,
        top_k=query.top_k or side.top_k,
        max_length=min(known) if known else None,
        prompt=query.prompt,
    )


def _with_query_encoder(settings: ModelSettings, encoder: SideSettings) -> ModelSettings:
    return dataclasses.replace(settings, query=dataclasses.replace(settings.query, encoder=encoder))
