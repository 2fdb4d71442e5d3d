"""Learned sparse encoders: SPLADE, SPLADE-doc and inference-free, on a masked language model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from tokenizers import Encoding, Tokenizer

from lsr.encoders.bag_of_tokens import BagOfTokensQueryEncoder
from lsr.encoders.base import CorpusStatistics, TermSpan
from lsr.encoders.batching import POOLED_NUMBERS, MemoryGuard, one_ahead, token_batches
from lsr.encoders.checkpoint import HEAD_ROWS_FILE, Checkpoint, open_checkpoint
from lsr.encoders.device import choose_device
from lsr.encoders.learned_settings import QUERY_ONLY, LearnedSettings
from lsr.encoders.lexical import counted_pieces, with_lexical_weights
from lsr.encoders.masked_lm import MaskedLanguageModel
from lsr.encoders.options import EncoderOptions
from lsr.encoders.pooling import pooled_weights
from lsr.encoders.query_table import query_side
from lsr.encoders.spans import piece_spans
from lsr.encoders.sparse_rows import keep_heaviest, maximum_by_owner, stacked, terms_held
from lsr.encoders.tokenization import (
    load_tokenizer,
    saved_max_length,
    special_token_ids,
    terms_by_id,
)
from lsr.errors import UserError

if TYPE_CHECKING:
    from lsr.encoders.int8_model import Int8Model

# Texts are tokenized and sorted by length in buffers of this many texts or characters.
_BUFFER_TEXTS = 4096
_BUFFER_CHARACTERS = 1 << 24


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
        """How many of the documents encoded so far hold each piece themselves, as far as they were
        read, shape (vocabulary,): the document frequencies of a corpus IDF."""
        self.text_terms = stacked([], model.vocabulary_size)
        """The pieces that each document of the last `encode_documents` holds itself, as far as it was
        read: 1 where it does, shape (texts, vocabulary)."""
        self._model = model
        self._tokenizer = tokenizer
        self._checkpoint = checkpoint
        self._settings = checkpoint.settings
        self._batch_size = batch_size
        self._query = query
        self._guard = MemoryGuard()
        self._special = torch.from_numpy(special_token_ids(tokenizer)).to(model.weight.device)
        self._terms = terms_by_id(tokenizer, model.vocabulary_size, checkpoint.backbone)
        self._int8: Int8Model | None = None
        if checkpoint.settings.precision == "int8":
            from lsr.encoders.int8_model import int8_model

            self._int8 = int8_model(model, tokenizer, checkpoint)

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
        """The piece of every output of the head."""
        return self._terms

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
        weights = self._encode(
            self._prompted(texts),
            settings.max_length,
            windows=settings.long_documents == "windows",
            counted=counted,
        )
        counts = stacked(counted, self._model.vocabulary_size)
        self.text_terms = sparse.csr_array(
            (np.ones_like(counts.data), counts.indices, counts.indptr), shape=counts.shape
        )
        if settings.lexical_weight:
            special = special_token_ids(self._tokenizer)
            weights = with_lexical_weights(weights, counts, settings.lexical_weight, special)
        self.text_frequencies += np.bincount(self.text_terms.indices, minlength=self._model.vocabulary_size)
        return keep_heaviest(weights, settings.document_limit())

    def own_terms(self, texts: Sequence[str]) -> sparse.csr_array:
        """Return what `text_terms` would be after encoding `texts`; the model does not run."""
        settings = self._settings
        parts = []
        for buffer in _buffers(self._prompted(texts)):
            inputs, owners = self._inputs(buffer, settings.max_length, settings.long_documents == "windows")
            parts.append(terms_held(owners, inputs, len(buffer), self._model.vocabulary_size))
        return stacked(parts, self._model.vocabulary_size)

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
        documents = {name: value for name, value in self.settings.items() if name not in QUERY_ONLY}
        if not self._settings.lexical_weight:
            # Indexes filled before there was such a setting stay those of their encoder.
            del documents["lexical_weight"]
        digest.update(json.dumps(documents, sort_keys=True).encode())
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
    ) -> sparse.csr_array:
        """Encode; `counted`, where given, receives how often each text holds each piece."""

        def prepare(buffer: list[str]) -> _Prepared:
            inputs, owners = self._inputs(buffer, max_length, windows)
            if counted is not None:
                counted.append(counted_pieces(owners, inputs, len(buffer), self._model.vocabulary_size))
            return _Prepared(len(buffer), inputs, owners)

        buffers = _buffers(texts)
        # An accelerator leaves the processor free to tokenize the next buffer meanwhile.
        prepared = map(prepare, buffers) if self._on_processor else one_ahead(prepare, buffers)
        parts = [self._encode_prepared(buffer, max_length) for buffer in prepared]
        return stacked(parts, self._model.vocabulary_size)

    @property
    def _on_processor(self) -> bool:
        return self._model.weight.device.type == "cpu"

    def _encode_prepared(self, buffer: _Prepared, max_length: int | None) -> sparse.csr_array:
        inputs = buffer.inputs
        lengths = [len(ids) for ids in inputs]
        width = self._model.vocabulary_size
        longest = max_length or max(lengths, default=1)
        rows: list[int] = []
        parts: list[sparse.csr_array] = []
        if self._int8 is not None:
            for positions, weights in self._int8.run(inputs):
                rows += positions
                parts.append(self._finite(weights))
            return self._by_text(buffer, rows, parts)
        for batch in token_batches(lengths, self._batch_size * longest, max(1, POOLED_NUMBERS // width)):
            for positions, weights in self._guard.run(
                batch, lambda part: self._forward([inputs[i] for i in part])
            ):
                rows += positions
                parts.append(weights)
        return self._by_text(buffer, rows, parts)

    def _by_text(self, buffer: _Prepared, rows: list[int], parts: list[sparse.csr_array]) -> sparse.csr_array:
        owners = np.asarray(buffer.owners, dtype=np.int64)[rows]
        return maximum_by_owner(stacked(parts, self._model.vocabulary_size), owners, buffer.texts)

    def _inputs(
        self, texts: list[str], max_length: int | None, windows: bool
    ) -> tuple[list[NDArray[np.int32]], list[int]]:
        """Tokenize; return the model's inputs and, for each, the text that it belongs to."""
        if max_length is None:
            self._tokenizer.no_truncation()
        else:
            self._tokenizer.enable_truncation(max_length, stride=0)
        added = self._tokenizer.num_special_tokens_to_add(False)
        inputs: list[NDArray[np.int32]] = []
        owners: list[int] = []
        encoding: Encoding
        for owner, (text, encoding) in enumerate(
            zip(texts, self._tokenizer.encode_batch_fast(texts), strict=True)
        ):
            further = encoding.overflowing
            self.cut_count += bool(further)
            for window in [encoding, *further] if windows else [encoding]:
                ids = window.ids
                if text and len(ids) > added:
                    inputs.append(np.array(ids, dtype=np.int32))
                    owners.append(owner)
        return inputs, owners

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
            full = lengths[-1] == longest
            weights = pooled_weights(
                states.flatten(0, 1) if full else states[mask],
                lengths,
                self._model.weight,
                self._model.bias,
                pooling=self._settings.pooling,
                activation=self._settings.activation,
            )
            if self._settings.special_tokens == "zero":
                weights[:, self._special] = 0
            return self._finite(_to_csr(weights))

    def _finite(self, weights: sparse.csr_array) -> sparse.csr_array:
        if not np.isfinite(weights.data).all():
            raise UserError(
                f"--encoder {self.name} puts out weights that are not finite; "
                "use --encoder-option precision=float32, or check the model."
            )
        return weights


class _Prepared(NamedTuple):
    """A buffer of texts: how many, the model's inputs, and the text that each of them is part of."""

    texts: int
    inputs: list[NDArray[np.int32]]
    owners: list[int]


def _to_csr(weights: torch.Tensor) -> sparse.csr_array:
    """Return the entries other than 0 (weights are at least 0, or not numbers)."""
    rows, columns = torch.nonzero(weights, as_tuple=True)
    counts = torch.bincount(rows, minlength=weights.shape[0])
    indptr = np.zeros(weights.shape[0] + 1, dtype=np.int64)
    np.cumsum(counts.cpu().numpy(), out=indptr[1:])
    data = weights[rows, columns].cpu().numpy()
    return sparse.csr_array(
        (data, columns.to(torch.int32).cpu().numpy(), indptr), shape=(weights.shape[0], weights.shape[1])
    )


def _buffers(texts: list[str]) -> Iterator[list[str]]:
    buffer: list[str] = []
    characters = 0
    for text in texts:
        buffer.append(text)
        characters += len(text)
        if len(buffer) == _BUFFER_TEXTS or characters >= _BUFFER_CHARACTERS:
            yield buffer
            buffer, characters = [], 0
    if buffer:
        yield buffer


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
