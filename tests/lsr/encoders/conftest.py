"""Small checkpoints, made on the spot: random weights, a word-piece vocabulary of 60."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# fmt: off
WORDS = [
    "the", "a", "of", "in", "on", "cat", "dog", "bird", "sat", "ran", "flew", "mat", "tree", "sky",
    "blue", "red", "green", "quick", "brown", "fox", "jump", "##s", "##ed", "##ing", "over", "lazy",
    "house", "garden", "river", "sun", "moon", "star", "light", "dark", "day", "night", ".", ",",
    "?", "!", "1", "2", "3", "new", "york", "weather", "now", "rain", "sunny", "x", "y", "z",
]
# fmt: on
TEXTS = [
    "the quick brown fox jumped over the lazy dog",
    "cat",
    "the sun in the sky, the moon at night. stars light the dark night over the garden river",
    "a bird flew over new york now ! weather sunny , rain in the night",
    "blue blue blue",
    "unknownword 1 2 3 [SEP] zzz",
    "dogs jumping on the mat",
]


def build_tokenizer(words: list[str] = WORDS) -> PreTrainedTokenizerFast:
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *words])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=48,
    )


def build_bert(vocabulary_size: int, seed: int = 0) -> BertForMaskedLM:
    torch.manual_seed(seed)
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=vocabulary_size,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=64,
            # Ten times the usual: activations far enough from 0 to tell right from wrong.
            initializer_range=0.2,
        )
    )
    with torch.no_grad():
        model.cls.predictions.bias.normal_(0, 0.5)
    return model.eval()


@pytest.fixture(scope="session")
def mlm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain masked language model, whose tokenizer carries a stale truncation and padding."""
    folder = tmp_path_factory.mktemp("mlm")
    tokenizer = build_tokenizer()
    build_bert(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    stale = Tokenizer.from_file(str(folder / "tokenizer.json"))
    stale.enable_truncation(4)
    stale.enable_padding(length=4)
    stale.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def mlm_copy(mlm_folder: Path, tmp_path: Path) -> Callable[[], Path]:
    """Return a function that copies the model to where a test may spoil it."""
    import shutil

    def copy() -> Path:
        return Path(shutil.copytree(mlm_folder, tmp_path / "copy"))

    return copy


@pytest.fixture(scope="session")
def opensearch_folder(mlm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with an idf.json beside it, special tokens included as in the published ones."""
    import shutil

    folder = tmp_path_factory.mktemp("opensearch") / "model"
    shutil.copytree(mlm_folder, folder)
    idf = {word: 0.5 + i / 10 for i, word in enumerate([*SPECIAL, *WORDS])}
    (folder / "idf.json").write_text(json.dumps(idf))
    return folder


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Short and long texts, one with an unknown word and a literal special token."""
    return list(TEXTS)


@pytest.fixture(scope="session")
def wide_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a vocabulary of 250,002 pieces."""
    folder = tmp_path_factory.mktemp("wide")
    tokenizer = build_tokenizer(WORDS + [f"word{i}" for i in range(250_002 - len(WORDS) - len(SPECIAL))])
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=250_002,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=64,
    )
    model = BertForMaskedLM(config)
    with torch.no_grad():
        # A head that is nearly all zeros after the activation, as trained ones are.
        model.cls.predictions.bias.fill_(-1.0)
        model.cls.predictions.bias[-2000:] = 0.5
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
