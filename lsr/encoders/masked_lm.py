"""A masked language model with its vocabulary projection taken off.

The projection to the vocabulary is by far the widest layer; `lsr.encoders.pooling` applies it in
pieces. To leave every architecture's own head transform in place, the projection is replaced by
the identity: the model then puts out, in place of logits, the states that the projection reads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lsr.encoders.packed_weights import PACKED_FILE, read_packed
from lsr.errors import UserError


class MaskedLanguageModel:
    """The body and head transform of a masked language model, and its projection apart from them.

    `weight` has shape (vocabulary, width), `bias` (vocabulary,) or None.
    """

    def __init__(self, model: Any, origin: str) -> None:
        self._origin = origin
        self._model = model.eval()
        self._projection, self._holder, self._attribute = _find_projection(model, origin)
        self._check()
        setattr(self._holder, self._attribute, nn.Identity())

    @classmethod
    def load(
        cls, folder: Path, *, dtype: torch.dtype = torch.float32, device: torch.device | None = None
    ) -> MaskedLanguageModel:
        """Load the checkpoint in `folder`; `UserError` where it is not a whole masked language model."""
        model = _load(folder, dtype)
        return cls(model.to(device or torch.device("cpu")), str(folder))

    @property
    def projection(self) -> nn.Linear:
        """The layer that was taken off."""
        return self._projection

    @property
    def weight(self) -> torch.Tensor:
        """The projection's weight, shape (vocabulary, width)."""
        return self._projection.weight

    @property
    def bias(self) -> torch.Tensor | None:
        """The projection's bias, shape (vocabulary,)."""
        return self._projection.bias

    @property
    def vocabulary_size(self) -> int:
        """The number of outputs of the head."""
        return int(self.weight.shape[0])

    @property
    def pad_token_id(self) -> int:
        """The id that fills short rows of a batch."""
        return int(getattr(self._model.config, "pad_token_id", None) or 0)

    @property
    def max_length(self) -> int | None:
        """The longest input that the model has positions for; None where it has no table of them."""
        for name, module in self._model.named_modules():
            if name.rpartition(".")[2] == "position_embeddings" and isinstance(module, nn.Embedding):
                # RoBERTa and its kin count positions from behind the padding index.
                skipped = 0 if module.padding_idx is None else module.padding_idx + 1
                return int(module.num_embeddings - skipped)
        longest = getattr(self._model.config, "max_position_embeddings", None)
        return int(longest) if longest and longest > 0 else None

    def states(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return what the projection reads, shape (batch, length, width)."""
        output: torch.Tensor = self._model(input_ids=input_ids, attention_mask=attention_mask).logits
        return output

    @contextlib.contextmanager
    def whole(self) -> Iterator[Any]:
        """Give the transformers model with its projection back in place, for saving."""
        setattr(self._holder, self._attribute, self._projection)
        try:
            yield self._model
        finally:
            setattr(self._holder, self._attribute, nn.Identity())

    def _check(self) -> None:
        """Compare plain logits with states times projection on one short input.

        An architecture that scales or caps its logits behind the projection fails here, at
        loading, and not in its vectors.
        """
        width = self._projection.weight.shape[0]
        ids = torch.tensor([[min(i, width - 1) for i in (5, 6, 7)]], device=self._projection.weight.device)
        mask = torch.ones_like(ids)
        with torch.inference_mode():
            plain = self._model(input_ids=ids, attention_mask=mask).logits
            setattr(self._holder, self._attribute, nn.Identity())
            try:
                pieces = nn.functional.linear(self.states(ids, mask), self.weight, self.bias)
            except RuntimeError:
                pieces = None
            finally:
                setattr(self._holder, self._attribute, self._projection)
        tolerance = 1e-4 if plain.dtype == torch.float32 else 0.1
        if (
            pieces is None
            or pieces.shape != plain.shape
            or not torch.allclose(pieces, plain, tolerance, tolerance, equal_nan=True)
        ):
            raise UserError(
                f"{self._origin}: the head of {type(self._model).__name__} does not end in a plain "
                "projection to the vocabulary; this architecture is not known."
            )


def _find_projection(model: Any, origin: str) -> tuple[nn.Linear, nn.Module, str]:
    projection = model.get_output_embeddings()
    if isinstance(projection, nn.Linear):
        for name, module in model.named_modules():
            if module is projection:
                parent, _, attribute = name.rpartition(".")
                return projection, model.get_submodule(parent), attribute
    raise UserError(
        f"{origin}: {type(model).__name__} has no projection to a vocabulary; give a masked language model."
    )


def _load(folder: Path, dtype: torch.dtype) -> Any:
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForMaskedLM

    if (folder / PACKED_FILE).is_file():
        return _load_packed(folder, dtype)
    with _quiet_transformers():
        try:
            config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
            if hasattr(config, "reference_compile"):
                # ModernBERT would compile itself, for minutes, before its first batch.
                config.reference_compile = False
            model, report = AutoModelForMaskedLM.from_pretrained(
                str(folder),
                config=config,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
        except SafetensorError as error:
            raise UserError(
                f"{folder}: the weights are damaged ({_first_line(error)}); download or save them again."
            ) from None
        except (ValueError, RuntimeError, OSError, KeyError, TypeError, ImportError) as error:
            raise UserError(
                f"{folder} cannot be loaded as a masked language model ({_first_line(error)}); "
                "give a checkpoint of AutoModelForMaskedLM saved as safetensors."
            ) from None
    absent = sorted(
        set(report["missing_keys"]) & {name for name, _ in model.named_parameters(remove_duplicate=False)}
    )
    absent += sorted(str(key) for key in report.get("mismatched_keys", ()))
    if absent:
        raise UserError(
            f"{folder} has no weights for {len(absent)} parameters of a masked language model "
            f"({absent[0]}, ...), so it was saved without its head; "
            "give the checkpoint saved from AutoModelForMaskedLM."
        )
    return model


def _load_packed(folder: Path, dtype: torch.dtype) -> Any:
    """Load a model whose matrices were stored as integers; its weights are ordinary ones from here on."""
    from transformers import AutoConfig, AutoModelForMaskedLM

    state = read_packed(folder / PACKED_FILE)
    with _quiet_transformers():
        try:
            config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
            model = AutoModelForMaskedLM.from_config(  # type: ignore[no-untyped-call]
                config, trust_remote_code=False
            )
            lacking, unknown = model.load_state_dict(state, strict=False)
        except (ValueError, RuntimeError, OSError, KeyError, TypeError) as error:
            raise UserError(
                f"{folder}: {PACKED_FILE} does not fit config.json ({_first_line(error)}); pack the model again."
            ) from None
    # Buffers are made from the configuration.
    lacking = sorted(set(lacking) & {name for name, _ in model.named_parameters(remove_duplicate=False)})
    if lacking or unknown:
        raise UserError(
            f"{folder}: {PACKED_FILE} and config.json are of two models ({[*lacking, *unknown][0]}); "
            "pack the model again."
        )
    return model.to(dtype)


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Loading reports missing weights through bars and tables; ours is one sentence."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(50)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
