"""Saving an encoder as a SparseEncoder folder, which sentence-transformers loads too."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from lsr.encoders.checkpoint import FACTORS_FILE, HEAD_ROWS_FILE, OWN_CONFIG
from lsr.encoders.tokenization import TOKENIZER_FILE
from lsr.errors import UserError
from lsr.whole_folder import written_whole

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from lsr.encoders.learned import LearnedEncoder

_MODULES = "sentence_transformers.sparse_encoder.models."
_ROUTER = "sentence_transformers.models.Router"
_ACTIVATIONS = {"log1p": "relu", "double-log1p": "log1p_relu"}
_TOKENIZER_FILES = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)
# Far below any logit, and finite in float16 and bfloat16.
_NEVER = -30000.0
# Of IDFs and factors in JSON: beyond what a float16 model could tell, in half the bytes.
_DIGITS = 6


def save_encoder(encoder: LearnedEncoder, folder: Path) -> None:
    """Save `encoder` into `folder`, which must not exist or be empty.

    ``splade`` becomes Transformer + SpladePooling; the others a Router with a SparseStaticEmbedding
    on the query route. sentence-transformers has no rule for special tokens, so zeroed ones are
    saved as a head bias that none of them overcomes: it then gives the same vectors, except for
    texts without any piece. `max_terms`, windows and a corpus IDF are ours alone and stand in
    ``lsr_encoder.json``. Written beside `folder` first and renamed, so nothing is left half-written.
    """
    with written_whole(folder) as draft:
        write_encoder(encoder, draft)


def write_encoder(encoder: LearnedEncoder, folder: Path) -> None:
    """Write `encoder` into the empty folder `folder`, as `save_encoder` does."""
    pooling_type = _MODULES + "SpladePooling.SpladePooling"
    model_type = _MODULES + "MLMTransformer.MLMTransformer"
    if encoder.query_side is None:
        _write_model(encoder, folder)
        _write_pooling(encoder, folder / "1_SpladePooling")
        modules = [_module(0, "", model_type), _module(1, "1_SpladePooling", pooling_type)]
    else:
        query, document, pooling = (
            "query_0_SparseStaticEmbedding",
            "document_0_MLMTransformer",
            "document_1_SpladePooling",
        )
        _write_model(encoder, folder / document)
        _write_pooling(encoder, folder / pooling)
        _write_static(encoder, folder / query)
        _write_json(
            folder / "router_config.json",
            {
                "types": {
                    query: _MODULES + "SparseStaticEmbedding.SparseStaticEmbedding",
                    document: model_type,
                    pooling: pooling_type,
                },
                "structure": {"query": [query], "document": [document, pooling]},
                "parameters": {"default_route": "document", "allow_empty_key": True},
            },
        )
        modules = [_module(0, "", _ROUTER)]
    _write_json(folder / "modules.json", modules)
    # For a corpus IDF and for precision=int8; sentence-transformers reads neither.
    _write_factors(encoder, folder)
    _copy_head_rows(encoder, folder)
    settings = encoder.settings
    record: dict[str, Any] = {
        "model_type": "SparseEncoder",
        "__version__": {},
        "prompts": {"query": settings["query_prompt"], "document": settings["document_prompt"]},
        "default_prompt_name": None,
        "similarity_fn_name": "dot",
    }
    if settings["max_active_dims"] is not None:
        record["max_active_dims"] = settings["max_active_dims"]
    _write_json(folder / "config_sentence_transformers.json", record)
    # The saved tokenizer lowers texts itself by now.
    _write_json(folder / OWN_CONFIG, {"format": 1, **settings, "lowercase": False})


def _write_model(encoder: LearnedEncoder, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with encoder.model.whole() as model:
        state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        if encoder.settings["special_tokens"] == "zero":
            _silence_special_tokens(encoder, state)
        model.save_pretrained(folder, state_dict=state)
    write_tokenizer(encoder.tokenizer, encoder.checkpoint.backbone, folder, encoder.settings["max_length"])
    _write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": encoder.settings["max_length"], "do_lower_case": False},
    )


def _silence_special_tokens(encoder: LearnedEncoder, state: dict[str, torch.Tensor]) -> None:
    from lsr.encoders.tokenization import special_token_ids

    bias = encoder.model.bias
    if bias is None:
        raise UserError(
            f"{encoder.name} has a head without bias, so zeroed special tokens cannot be saved for "
            "sentence-transformers; save it with --encoder-option special_tokens=keep."
        )
    # Tied under two names in most architectures: every copy of the bias is changed.
    special = torch.from_numpy(special_token_ids(encoder.tokenizer))
    for tensor in state.values():
        if tensor.shape == bias.shape and torch.equal(tensor, bias.detach()):
            tensor[special] = _NEVER


def _write_pooling(encoder: LearnedEncoder, folder: Path) -> None:
    folder.mkdir(parents=True)
    settings = encoder.settings
    _write_json(
        folder / "config.json",
        {
            "pooling_strategy": settings["pooling"],
            "activation_function": _ACTIVATIONS[settings["activation"]],
            "word_embedding_dimension": encoder.model.vocabulary_size,
        },
    )


def _write_static(encoder: LearnedEncoder, folder: Path) -> None:
    from safetensors.numpy import save_file

    query = encoder.query_side
    assert query is not None
    folder.mkdir(parents=True)
    # As long as the tokenizer, which is the length that SparseStaticEmbedding expects.
    table = np.ascontiguousarray(query.table[: query.tokenizer.get_vocab_size(with_added_tokens=True)])
    save_file({"weight": table}, folder / "model.safetensors")
    _write_json(folder / "config.json", {"frozen": False})
    origin = encoder.checkpoint.static or encoder.checkpoint.backbone
    write_tokenizer(query.tokenizer, origin, folder, query.settings["max_length"])


def write_tokenizer(tokenizer: Tokenizer, origin: Path, folder: Path, max_length: int | None) -> None:
    """Write `tokenizer`, its length and the files beside it in `origin` into `folder`."""
    for name in _TOKENIZER_FILES:
        if (origin / name).is_file():
            shutil.copyfile(origin / name, folder / name)
    (folder / TOKENIZER_FILE).write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if max_length is not None:
        config["model_max_length"] = max_length
    config.pop("max_length", None)
    _write_json(path, config)


def _write_factors(encoder: LearnedEncoder, folder: Path) -> None:
    """Write the encoder's query factors into `folder`, where it has any."""
    query = encoder.query_side
    if query is not None and query.factors is not None:
        write_token_table(folder / FACTORS_FILE, encoder.vocabulary, query.factors, 1.0)


def _copy_head_rows(encoder: LearnedEncoder, folder: Path) -> None:
    """Copy the encoder's list of rows into `folder`, where it has one."""
    path = encoder.checkpoint.folder / HEAD_ROWS_FILE
    if path.is_file():
        shutil.copyfile(path, folder / HEAD_ROWS_FILE)


def write_token_table(
    path: Path, terms: Sequence[str], values: NDArray[np.float32], otherwise: float
) -> None:
    """Write token to value, without tokens that have the value the reader gives them anyway."""
    table = {
        term: float(f"{value:.{_DIGITS}g}")
        for term, value in zip(terms, values.tolist(), strict=True)
        if value != otherwise
    }
    if not table:
        # An empty table is taken for a damaged one.
        table = {terms[0]: otherwise}
    path.write_text(json.dumps(table, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def _module(index: int, path: str, kind: str) -> dict[str, Any]:
    return {"idx": index, "name": str(index), "path": path, "type": kind}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
