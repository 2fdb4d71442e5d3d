"""A small model and small pairs: random weights, words of sixty, positives that hold their query's words."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [f"word{letter}{other}" for letter in "abcdefgh" for other in "stuvwxyz"]


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked language model of two layers, without dropout, so that the way a batch is cut does not matter."""
    folder = tmp_path_factory.mktemp("backbone")
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair=None, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=32,
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=32,
        initializer_range=0.2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    BertForMaskedLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 pairs, each with two negatives and three scores."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    chance = random.Random(0)
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(64):
            words = chance.sample(WORDS, 8)
            others = [" ".join(chance.sample(WORDS, 8)) for _ in range(2)]
            record = {
                "query": " ".join(words[:2]),
                "positive": " ".join(words),
                "negatives": others,
                "scores": [2.0, 1.0, 0.5],
            }
            file.write(json.dumps(record) + "\n")
    return path


@pytest.fixture
def values(backbone: Path, pairs_file: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that gives a whole configuration, settings of the training changed."""

    def make(**training: Any) -> dict[str, Any]:
        return {
            "model": {"backbone": str(backbone), "document": {"head": "mlm"}, "query": {"kind": "same"}},
            "data": {"sources": [{"path": str(pairs_file)}]},
            "losses": {
                "ranking": {"infonce": 1.0, "margin-mse": 0.05},
                "sparsity": {
                    "queries": {"flops": {"weight": 0.01, "schedule": {"name": "linear", "share": 0.5}}},
                    "documents": {"flops": {"schedule": {"name": "target-terms", "terms": 20}}},
                },
            },
            "training": {
                "steps": 8,
                "batch_size": 8,
                "learning_rate": 1e-3,
                "device": "cpu",
                "log_every": 4,
                **training,
            },
        }

    return make
