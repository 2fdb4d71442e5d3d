"""Tiny checkpoints with random weights, and 32 pairs of a query and its document."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

from lsr.composition.model import SparseModel
from lsr.composition.settings import ModelSettings
from lsr.presets import load_preset

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOPICS = [f"topic{number}" for number in range(32)]
COMMON = [f"word{number}" for number in range(24)]
WORDS = [*TOPICS, *COMMON]
VOCABULARY = len(SPECIAL) + len(WORDS)


def save_tokenizer(folder: Path) -> None:
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
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


def bert_config(width: int = 32) -> BertConfig:
    return BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=0,
    )


def headless(width: int) -> BertModel:
    """A body whose states are close to its tokens' embeddings, as if it knew a little already."""
    model = BertModel(bert_config(width))
    with torch.no_grad():
        model.embeddings.position_embeddings.weight *= 0.1
        for layer in model.encoder.layer:
            layer.attention.output.dense.weight *= 0.3
            layer.output.dense.weight *= 0.3
    return model


def decoder_arguments() -> dict[str, object]:
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "initializer_range": 0.2,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "tie_word_embeddings": True,
    }


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of tiny checkpoints by name."""
    torch.manual_seed(0)
    made = {
        "bert": BertForMaskedLM(bert_config()),
        "headless": headless(32),
        "small-headless": headless(16),
        "mistral": MistralForCausalLM(MistralConfig(**decoder_arguments())),
        "llama": LlamaForCausalLM(LlamaConfig(**decoder_arguments())),
    }
    places = {}
    for name, model in made.items():
        folder = tmp_path_factory.mktemp(name)
        model.save_pretrained(folder)
        save_tokenizer(folder)
        places[name] = str(folder)
    return places


@pytest.fixture(scope="session")
def pairs() -> tuple[list[str], list[str]]:
    """32 queries and their documents: a topic that is the pair's own among common words."""
    draw = random.Random(0)
    queries = [f"{topic} {draw.choice(COMMON)}" for topic in TOPICS]
    documents = []
    for topic in TOPICS:
        words = [topic, *draw.sample(COMMON, 6)]
        draw.shuffle(words)
        documents.append(" ".join(words))
    return queries, documents


def tiny_settings(name: str, folders: dict[str, str]) -> ModelSettings:
    """The preset's settings on a tiny checkpoint, in float32, with few latents and terms."""
    backbones = {"mistral-splade": "mistral", "laconic": "llama", "splade-max": "bert", "splade-doc": "bert"}
    settings = load_preset(name).settings
    settings = settings.with_backbone(folders[backbones.get(name, "headless")], folders["small-headless"])
    if settings.query.encoder is not None and settings.query.share_backbone:
        encoder = dataclasses.replace(settings.query.encoder, backbone="")
        settings = dataclasses.replace(settings, query=dataclasses.replace(settings.query, encoder=encoder))
    document = dataclasses.replace(settings.document, precision="float32")
    if document.lora is not None:
        document = dataclasses.replace(document, lora=dataclasses.replace(document.lora, dropout=0.0))
    if document.autoencoder is not None:
        smaller = dataclasses.replace(document.autoencoder, expansion=16, active=16, dead_after=3)
        document = dataclasses.replace(document, autoencoder=smaller)
    if document.dimensions is not None:
        document = dataclasses.replace(document, dimensions=128)
    return dataclasses.replace(settings, document=document)


def tiny_model(name: str, folders: dict[str, str], documents: list[str]) -> SparseModel:
    """The preset on a tiny checkpoint, its IDF counted."""
    torch.manual_seed(1)
    model = SparseModel.from_settings(tiny_settings(name, folders))
    if model.needs_idf:
        model.fit_idf(documents)
    return model


@pytest.fixture(scope="session")
def settings_of(folders: dict[str, str]) -> Callable[[str], ModelSettings]:
    """Return a function from a preset's name to its settings on tiny checkpoints."""
    return lambda name: tiny_settings(name, folders)


@pytest.fixture(scope="session")
def model_of(folders: dict[str, str], pairs: tuple[list[str], list[str]]) -> Callable[[str], SparseModel]:
    """Return a function from a preset's name to a new model on tiny checkpoints."""
    return lambda name: tiny_model(name, folders, pairs[1])
