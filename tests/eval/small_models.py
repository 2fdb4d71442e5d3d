"""Small models with random weights, made on the spot."""

from __future__ import annotations

from pathlib import Path

WORDS = ["battery", "phone", "bread", "oven", "flour", "energy", "calls", "bakes", "cake", "lithium", "yeast"]


def _tokenizer(folder: Path) -> int:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=32,
    ).save_pretrained(folder)
    return len(vocabulary)


def _config(size: int, **more: int) -> object:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=size,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.4,
        **more,
    )


def dense_model(folder: Path) -> Path:
    """Save a sentence-transformers model with mean pooling."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import BertModel

    torch.manual_seed(0)
    size = _tokenizer(folder / "bert")
    BertModel(_config(size)).save_pretrained(folder / "bert")  # type: ignore[arg-type]
    transformer = Transformer(str(folder / "bert"), max_seq_length=32)
    model = SentenceTransformer(modules=[transformer, Pooling(16, "mean")], device="cpu")
    model.save(str(folder / "dense"))
    return folder / "dense"


def cross_encoder(folder: Path) -> Path:
    """Save a cross-encoder with one output."""
    import torch
    from transformers import BertForSequenceClassification

    torch.manual_seed(1)
    size = _tokenizer(folder)
    BertForSequenceClassification(_config(size, num_labels=1)).save_pretrained(folder)  # type: ignore[arg-type]
    return folder
