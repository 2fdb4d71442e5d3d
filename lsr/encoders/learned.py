"""Learned sparse encoders: SPLADE, SPLADE-doc and inference-free, on a masked language model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from tokenizers import Tokenizer

from lsr.encoders.bag_of_tokens import BagOfTokensQueryEncoder
from lsr.encoders.base import CorpusStatistics, TermSpan
from lsr.encoders.batching import POOLED_NUMBERS, MemoryGuard, one_ahead, token_batches
from lsr.encoders.checkpoint import HEAD_ROWS_FILE, Checkpoint, open_checkpoint, read_head_rows
from lsr.encoders.device import choose_device
from lsr.encoders.head import Head
from lsr.encoders.learned_settings import LearnedSettings
from lsr.encoders.lexical import counted_pieces, with_lexical_weights
from lsr.encoders.masked_lm import MaskedLanguageModel
from lsr.encoders.model_inputs import ModelInputs, buffers, model_inputs
from lsr.encoders.options import EncoderOptions
from lsr.encoders.query_table import query_side
from lsr.encoders.spans import piece_spans
from lsr.encoders.sparse_rows import keep_heaviest, maximum_by_owner, stacked
from lsr.encoders.tokenization import (
    load_tokenizer,
    saved_max_length,
    special_token_ids,
    terms_by_id,
)
from lsr.errors import UserError

if TYPE_CHECKING:
    from lsr.encoders.int8_model import Int8Model


class LearnedEncoder:
    """A masked language model's term weights for documents, and a query side to match.

    A text without any piece (empty, white space) has no terms, where the bare model would expand
    its special tokens. Texts past `max_length` are cut or read in windows; `cut_count` counts them.
    """

    weighting: Literal["impact", "frequency"] = "impact"

    def __init__(
        self,
        model: MaskedLanguageModel,
        tokenizer: Tokenizer,
        checkpoint: Checkpoint,
        *,
        batch_size: int = 32,
        query: BagOfTokensQueryEncoder | None = None,
    ) -> None:
        self.name = checkpoint.source
        self.cut_count = 0
        """Texts longer than `max_length` so far, whether cut or read in windows."""
        self.text_frequencies = np.zeros(model.vocabulary_size, dtype=np.int64)
        """How many of the documents encoded so far hold each term themselves, as far as they were
        read, shape (vocabulary,): the document frequencies of a corpus IDF."""
        self.text_terms = stacked([], model.vocabulary_size)
        """The terms that each document of the last `encode_documents` holds itself, as far as it was
        read: 1 where it does, shape (texts, vocabulary)."""
        self._model = model
        self._tokenizer = tokenizer
        self._checkpoint = checkpoint
        self._settings = checkpoint.settings
        self._batch_size = batch_size
        self._query = query
        self._guard = MemoryGuard()
        self._terms = terms_by_id(tokenizer, model.vocabulary_size, checkpoint.backbone)
        self._words = None
        if checkpoint.settings.terms == "words":
            from lsr.encoders.word_terms import DocumentWords

            self._words = DocumentWords(self._terms)
        rows = read_head_rows(checkpoint.folder, model.vocabulary_size)
        self._head = Head(model, checkpoint.settings, self._terms, special_token_ids(tokenizer), rows)
        self._int8: Int8Model | None = None
        if checkpoint.settings.precision == "int8":
            from lsr.encoders.int8_model import int8_model

            self._int8 = int8_model(model, self._head, checkpoint)

    @classmethod
    def load(cls, source: str, options: EncoderOptions) -> LearnedEncoder:
        """Load `source`, a folder or a Hugging Face id; see `lsr.encoders.load_encoder`."""
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        device = choose_device(options.device)
        checkpoint = open_checkpoint(source, options)
        tokenizer = load_tokenizer(checkpoint.backbone, lowercase=checkpoint.settings.lowercase)
        precision = checkpoint.settings.precision
        dtype = torch.float32 if precision == "int8" else getattr(torch, precision)
        model = MaskedLanguageModel.load(checkpoint.backbone, dtype=dtype, device=device)
        settings = _with_lengths(checkpoint, model, tokenizer, options)
        checkpoint = dataclasses.replace(checkpoint, settings=settings)
        query = query_side(checkpoint, tokenizer, model.vocabulary_size)
        return cls(model, tokenizer, checkpoint, batch_size=options.batch_size, query=query)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that changes the output, as JSON values; ``kind`` names how queries are encoded."""
        return self._settings.as_json()

    @property
    def vocabulary(self) -> Sequence[str]:
        """The piece of every output of the head; with ``terms=words`` words behind them, as they are met."""
        return self._terms if self._words is None else self._words.vocabulary

    def extend_vocabulary(self, terms: Sequence[str]) -> None:
        """Give the next ids to words that the vocabulary lacks, as encoding documents with them does."""
        if self._words is None:
            raise ValueError("the vocabulary of a tokenizer's pieces does not grow")
        self._words.extend(terms)

    def forget_words(self) -> None:
        """Forget the words that other documents brought: those to come fill another index."""
        if self._words is not None:
            self._words.forget()
            width = len(self._words.vocabulary)
            self.text_frequencies = np.zeros(width, dtype=np.int64)
            self.text_terms = stacked([], width)

    @property
    def model(self) -> MaskedLanguageModel:
        """The masked language model, its projection taken off."""
        return self._model

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of documents."""
        return self._tokenizer

    @property
    def query_side(self) -> BagOfTokensQueryEncoder | None:
        """The model-free query side; None for ``splade``, which runs the model on queries."""
        return self._query

    @property
    def checkpoint(self) -> Checkpoint:
        """Where the encoder was loaded from."""
        return self._checkpoint

    def encode_documents(self, texts: Sequence[str]) -> sparse.csr_array:
        """Return document weights, shape (texts, vocabulary).

        Give a thousand texts or more at a time: they are sorted by length within one call.
        """
        settings = self._settings
        counted: list[sparse.csr_array] = []
        read: list[str] = []
        weights = self._encode(
            self._prompted(texts),
            settings.max_length,
            windows=settings.long_documents == "windows",
            counted=counted,
            read=read,
        )
        counts = stacked(counted, self._model.vocabulary_size)
        words = self._words
        if words is not None:
            weights, self.text_terms = words.joined(weights, counts, read, settings.lexical_weight)
        else:
            self.text_terms = _ones(counts)
            if settings.lexical_weight:
                special = special_token_ids(self._tokenizer)
                weights = with_lexical_weights(weights, counts, settings.lexical_weight, special)
        self._count_text_terms()
        return keep_heaviest(weights, settings.document_limit(), None if words is None else words.precedence)

    def _count_text_terms(self) -> None:
        found = np.bincount(self.text_terms.indices, minlength=self.text_terms.shape[1]).astype(np.int64)
        found[: self.text_frequencies.size] += self.text_frequencies
        self.text_frequencies = found

    def own_terms(self, texts: Sequence[str]) -> sparse.csr_array:
        """Return what `text_terms` would be after encoding `texts`; the model does not run."""
        settings = self._settings
        parts, read = [], []
        for buffer in buffers(self._prompted(texts)):
            inputs = self._inputs(buffer, settings.max_length, settings.long_documents == "windows")
            parts.append(counted_pieces(inputs.owners, inputs.ids, len(buffer), self._model.vocabulary_size))
            read += inputs.read
        counts = stacked(parts, self._model.vocabulary_size)
        return _ones(counts) if self._words is None else self._words.held(counts, read)

    def _prompted(self, texts: Sequence[str]) -> list[str]:
        return [self._settings.document_prompt + text if text.strip() else "" for text in texts]

    def encode_queries(
        self, texts: Sequence[str], statistics: CorpusStatistics | None = None
    ) -> sparse.csr_array:
        """Return query weights, shape (texts, vocabulary); `statistics` serve a corpus IDF only."""
        if self._query is not None:
            return self._query.encode_queries(texts, statistics)
        settings = self._settings
        weights = self._encode(
            [settings.query_prompt + text if text.strip() else "" for text in texts],
            settings.query_max_length or settings.max_length,
            windows=False,
        )
        return keep_heaviest(weights, settings.max_active_dims)

    def term_spans(self, text: str) -> list[TermSpan]:
        """Return where the pieces of a text stand in it."""
        if self.query_side is not None:
            return self.query_side.term_spans(text)
        return piece_spans(self.tokenizer, text)

    def fingerprint(self) -> str:
        """Return a SHA-256, in hex, of weights, tokenizer and the settings that documents depend on.

        Reads every byte of the weights once (about a second for each gigabyte), then remembers.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        backbone = self._checkpoint.backbone
        head_rows = self._checkpoint.folder / HEAD_ROWS_FILE
        rows = [head_rows] if head_rows.is_file() else []
        for path in [backbone / "config.json", *sorted(backbone.glob("*.safetensors")), *rows]:
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        digest.update(json.dumps(self._settings.of_documents(), sort_keys=True).encode())
        # Truncation is left from the last use and set again at the next.
        self._tokenizer.no_truncation()
        digest.update(self._tokenizer.to_str().encode())
        return digest.hexdigest()

    def save_query_side(self, folder: Path) -> None:
        """Write into `folder` what `lsr.encoders.load_query_encoder` needs.

        For ``splade`` that is where the model lies and its fingerprint, not the model.
        """
        if self._query is not None:
            self._query.save(folder)
            return
        from lsr.encoders.model_query import write_record

        write_record(folder, self)

    def save(self, folder: str | Path) -> None:
        """Save the encoder as a SparseEncoder folder; see `lsr.encoders.saving.save_encoder`."""
        from lsr.encoders.saving import save_encoder

        save_encoder(self, Path(folder))

    def _encode(
        self,
        texts: list[str],
        max_length: int | None,
        *,
        windows: bool,
        counted: list[sparse.csr_array] | None = None,
        read: list[str] | None = None,
    ) -> sparse.csr_array:
        """Encode; `counted` receives how often each text holds each piece, `read` how far it was read."""

        def prepare(buffer: list[str]) -> tuple[int, ModelInputs]:
            inputs = self._inputs(buffer, max_length, windows)
            if counted is not None:
                width = self._model.vocabulary_size
                counted.append(counted_pieces(inputs.owners, inputs.ids, len(buffer), width))
            if read is not None:
                read.extend(inputs.read)
            return len(buffer), inputs

        parts = buffers(texts)
        # An accelerator leaves the processor free to tokenize the next buffer meanwhile.
        prepared = map(prepare, parts) if self._on_processor else one_ahead(prepare, parts)
        rows = [self._encode_prepared(count, inputs, max_length) for count, inputs in prepared]
        return stacked(rows, self._model.vocabulary_size)

    def _inputs(self, texts: list[str], max_length: int | None, windows: bool) -> ModelInputs:
        inputs = model_inputs(self._tokenizer, texts, max_length, windows=windows)
        self.cut_count += inputs.cut
        return inputs

    @property
    def _on_processor(self) -> bool:
        return self._model.weight.device.type == "cpu"

    def _encode_prepared(self, texts: int, inputs: ModelInputs, max_length: int | None) -> sparse.csr_array:
        lengths = [len(ids) for ids in inputs.ids]
        width = self._model.vocabulary_size
        longest = max_length or max(lengths, default=1)
        rows: list[int] = []
        parts: list[sparse.csr_array] = []
        if self._int8 is not None:
            for positions, weights in self._int8.run(inputs.ids):
                rows += positions
                parts.append(self._finite(weights))
        else:
            budget = max(1, POOLED_NUMBERS // width)
            for batch in token_batches(lengths, self._batch_size * longest, budget):
                for positions, weights in self._guard.run(
                    batch, lambda part: self._forward([inputs.ids[i] for i in part])
                ):
                    rows += positions
                    parts.append(weights)
        owners = np.asarray(inputs.owners, dtype=np.int64)[rows]
        return maximum_by_owner(stacked(parts, width), owners, texts)

    def _forward(self, inputs: list[NDArray[np.int32]]) -> sparse.csr_array:
        """Run the model on inputs that are sorted by length; return their weights."""
        device = self._model.weight.device
        lengths = [len(ids) for ids in inputs]
        longest = max(lengths)
        filled = np.full((len(inputs), longest), self._model.pad_token_id, dtype=np.int64)
        for row, values in zip(filled, inputs, strict=True):
            row[: len(values)] = values
        ids = torch.from_numpy(filled)
        mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
        with torch.inference_mode():
            mask = mask.to(device)
            states = self._model.states(ids.to(device), mask.long())
            packed = states.flatten(0, 1) if lengths[-1] == longest else states[mask]
            return self._finite(self._head.weights(packed, inputs))

    def _finite(self, weights: sparse.csr_array) -> sparse.csr_array:
        if not np.isfinite(weights.data).all():
            raise UserError(
                f"--encoder {self.name} puts out weights that are not finite; "
                "use --encoder-option precision=float32, or check the model."
            )
        return weights


def _ones(counts: sparse.csr_array) -> sparse.csr_array:
    ones = np.ones_like(counts.data)
    return sparse.csr_array((ones, counts.indices, counts.indptr), shape=counts.shape)


def _with_lengths(
    checkpoint: Checkpoint, model: MaskedLanguageModel, tokenizer: Tokenizer, options: EncoderOptions
) -> LearnedSettings:
    """Settle `max_length`: asked for, else the checkpoint's, within what the model can read."""
    settings = checkpoint.settings
    asked = settings.max_length is not None
    from_user = options.max_length or options.settings.get("max_length")
    if from_user and model.max_length and from_user > model.max_length:
        raise UserError(
            f"--max-length {from_user} is more than the {model.max_length} tokens that "
            f"{checkpoint.source} can read; "
            "lower it, or use --long-documents windows."
        )
    fewest = tokenizer.num_special_tokens_to_add(False) + 1
    if from_user and from_user < fewest:
        raise UserError(
            f"--max-length {from_user} has no room for text beside special tokens; give at least {fewest}."
        )
    limits = [settings.max_length if asked else saved_max_length(checkpoint.backbone), model.max_length]
    known = [limit for limit in limits if limit]
    return dataclasses.replace(settings, max_length=min(known) if known else None)
