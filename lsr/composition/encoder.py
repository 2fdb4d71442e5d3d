"""Inference with a composed model: texts in, sparse term weights out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy import sparse
from torch import nn

from lsr.composition.adapters import folded_state
from lsr.composition.model import SparseModel
from lsr.composition.query_table import QueryTable
from lsr.composition.side import Side
from lsr.composition.tokens import TextTokenizer
from lsr.encoders.bag_of_tokens import BagOfTokensQueryEncoder
from lsr.encoders.base import CorpusStatistics, TermSpan
from lsr.encoders.batching import POOLED_NUMBERS, MemoryGuard, token_batches
from lsr.encoders.device import choose_device
from lsr.encoders.hub import resolve_source
from lsr.encoders.options import EncoderOptions
from lsr.encoders.spans import piece_spans
from lsr.encoders.sparse_rows import from_dense, keep_heaviest, maximum_by_owner, stacked, terms_held
from lsr.errors import UserError

KIND = "composition"
_BUFFER_TEXTS = 4096
# Settings that leave documents as they are.
_QUERY_ONLY = ("query", "backbone")


class ComposedEncoder:
    """An `lsr.encoders.base.Encoder` on a `SparseModel`, one being trained or one loaded.

    A text without any piece has no terms. Texts past `max_length` are cut or read in windows, the
    maximum of each term taken; `cut_count` counts them.
    """

    weighting: Literal["impact", "frequency"] = "impact"

    def __init__(
        self, model: SparseModel, name: str = "a model in training", options: EncoderOptions | None = None
    ) -> None:
        self.name = name
        self.cut_count = 0
        """Texts longer than `max_length` so far."""
        self.text_frequencies = np.zeros(model.vocabulary_size, dtype=np.int64)
        """How many of the documents encoded so far hold each piece themselves, shape (vocabulary,)."""
        self.text_terms = stacked([], model.vocabulary_size)
        """The pieces that each document of the last `encode_documents` holds itself, as far as it was
        read: 1 where it does, shape (texts, vocabulary)."""
        self.model = model
        self.folder: Path | None = None
        """Where the model lies; None for one in training."""
        self._options = options or EncoderOptions()
        _check_options(self._options, model, name)
        self._guard = MemoryGuard()
        self._terms: list[str] | None = None

    @classmethod
    def load(cls, source: str, options: EncoderOptions) -> ComposedEncoder:
        """Load what `SparseModel.save` wrote, from a folder or a Hugging Face id."""
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        device = choose_device(options.device)
        revision = options.settings.get("revision")
        folder = resolve_source(source, None if revision is None else str(revision))
        encoder = cls(SparseModel.load(folder).to(device).eval(), source, options)
        encoder.folder = folder
        return encoder

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that changes the output, as JSON values."""
        return {
            "kind": KIND,
            **self.model.settings.as_dict(),
            "max_length": self._document_length(),
            "max_terms": self._options.max_terms,
            "long_documents": self._options.long_documents,
        }

    @property
    def vocabulary(self) -> Sequence[str]:
        """The term of every id."""
        if self._terms is None:
            self._terms = self.model.terms
        return self._terms

    def encode_documents(self, texts: Sequence[str]) -> sparse.csr_array:
        """Return document weights, shape (texts, vocabulary)."""
        held: list[sparse.csr_array] = []
        weights = self._encode(
            self.model.document,
            self.model.document_tokenizer,
            texts,
            self._document_length(),
            further=self._options.long_documents == "windows",
            held=held,
        )
        self.text_terms = stacked(held, self.model.vocabulary_size)
        self.text_frequencies += np.bincount(self.text_terms.indices, minlength=self.model.vocabulary_size)
        return keep_heaviest(weights, self._options.max_terms)

    def own_terms(self, texts: Sequence[str]) -> sparse.csr_array:
        """Return what `text_terms` would be after encoding `texts`; the model does not run."""
        windows, _ = self.model.document_tokenizer.windows(
            texts, self._document_length(), further=self._options.long_documents == "windows"
        )
        return _held(windows, len(texts), self.model.vocabulary_size)

    def encode_queries(
        self, texts: Sequence[str], statistics: CorpusStatistics | None = None
    ) -> sparse.csr_array:
        """Return query weights, shape (texts, vocabulary); `statistics` serve a corpus IDF only."""
        bag = self.query_table()
        if bag is not None:
            return bag.encode_queries(texts, statistics)
        side, tokenizer = self.model.query, self.model.query_tokenizer
        assert isinstance(side, Side)
        return self._encode(side, tokenizer, texts, tokenizer.max_length, further=False, held=None)

    def query_table(self) -> BagOfTokensQueryEncoder | None:
        """Return the query side that needs no model; None where queries run through one."""
        if not isinstance(self.model.query, QueryTable):
            return None
        settings = self.model.settings.query
        return BagOfTokensQueryEncoder(
            self.model.query_tokenizer.tokenizer,
            self.model.query.as_array(),
            kind="splade-doc" if settings.kind == "binary" else "inference-free",
            idf=self._options.idf or "training",
            max_length=settings.max_length,
            prompt=settings.prompt,
        )

    def term_spans(self, text: str) -> list[TermSpan]:
        """Return where the pieces of a text stand in it; the latents of a dense head stand nowhere."""
        bag = self.query_table()
        if bag is not None:
            return bag.term_spans(text)
        if self.model.settings.document.head == "dense":
            return []
        return piece_spans(self.model.query_tokenizer.tokenizer, text)

    def fingerprint(self) -> str:
        """Return a SHA-256, in hex, of all that changes document vectors: weights, tokenizer, settings."""
        documents = {name: value for name, value in self.settings.items() if name not in _QUERY_ONLY}
        return _digest(self.model.document, documents, self.model.document_tokenizer)

    def model_fingerprint(self) -> str:
        """Return a SHA-256, in hex, of the document side and the query side together."""
        return _digest(self.model, self.settings, self.model.query_tokenizer)

    def save_query_side(self, folder: Path) -> None:
        """Write into `folder` what `lsr.encoders.load_query_encoder` needs."""
        bag = self.query_table()
        if bag is not None:
            bag.save(folder)
            return
        from lsr.composition.late_query import write_record

        write_record(folder, self)

    def _document_length(self) -> int | None:
        return self._options.max_length or self.model.settings.document.max_length

    def _encode(
        self,
        side: Side,
        tokenizer: TextTokenizer,
        texts: Sequence[str],
        max_length: int | None,
        *,
        further: bool,
        held: list[sparse.csr_array] | None,
    ) -> sparse.csr_array:
        training = self.model.training
        self.model.eval()
        try:
            parts = [
                self._encode_buffer(
                    side, tokenizer, texts[start : start + _BUFFER_TEXTS], max_length, further, held
                )
                for start in range(0, len(texts), _BUFFER_TEXTS)
            ]
        finally:
            self.model.train(training)
        return stacked(parts, self.model.vocabulary_size)

    def _encode_buffer(
        self,
        side: Side,
        tokenizer: TextTokenizer,
        texts: Sequence[str],
        max_length: int | None,
        further: bool,
        held: list[sparse.csr_array] | None,
    ) -> sparse.csr_array:
        windows, longer = tokenizer.windows(texts, max_length, further=further)
        width = self.model.vocabulary_size
        if held is not None:
            self.cut_count += longer
            held.append(_held(windows, len(texts), width))
        lengths = [len(ids) for _, ids in windows]
        budget = self._options.batch_size * (max_length or max(lengths, default=1))
        rows: list[int] = []
        parts: list[sparse.csr_array] = []

        def forward(part: list[int]) -> sparse.csr_array:
            batch = tokenizer.padded([windows[i][1] for i in part]).to(self.model.device)
            with torch.inference_mode():
                weights = side(batch).weights
            if not torch.isfinite(weights).all():
                raise UserError(
                    f"--encoder {self.name} puts out weights that are not finite; check the model."
                )
            return from_dense(weights.float().cpu().numpy())

        for batch in token_batches(lengths, budget, max(1, POOLED_NUMBERS // width)):
            for positions, weights in self._guard.run(batch, forward):
                rows += positions
                parts.append(weights)
        owners = np.array([windows[row][0] for row in rows], dtype=np.int64)
        return maximum_by_owner(stacked(parts, width), owners, len(texts))


def _held(windows: list[tuple[int, list[int]]], texts: int, width: int) -> sparse.csr_array:
    return terms_held([owner for owner, _ in windows], [ids for _, ids in windows], texts, width)


def _digest(module: nn.Module, settings: dict[str, Any], tokenizer: TextTokenizer) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(folded_state(module).items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    digest.update(json.dumps(settings, sort_keys=True).encode())
    # Truncation is left from the last use and set again at the next.
    tokenizer.tokenizer.no_truncation()
    digest.update(tokenizer.tokenizer.to_str().encode())
    return digest.hexdigest()


def _check_options(options: EncoderOptions, model: SparseModel, name: str) -> None:
    unknown = sorted(set(options.settings) - {"revision"})
    if unknown:
        raise UserError(
            f"--encoder-option {unknown[0]} does not fit {name}, whose settings are saved with it."
        )
    positions = model.settings.document.max_length
    if options.max_length and positions and options.max_length > positions:
        raise UserError(
            f"--max-length {options.max_length} is more than the {positions} tokens of {name}; lower it."
        )
    if options.idf is not None and not isinstance(model.query, QueryTable):
        raise UserError(f"--idf does not fit {name}, whose queries run through a model; leave it out.")
