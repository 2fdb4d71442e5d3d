"""Train every preset for a few steps with ``lsr train`` on tiny checkpoints, and show its loss going down.

    pip install -c constraints.txt ".[train]"
    python scripts/train_presets.py [--steps 150] [--presets splade csr ...]

The checkpoints are random, two layers of 32 whose states stay near their tokens' embeddings (from
fully random states the symmetric presets reach only chance in so few steps), over 93 made-up words; the 256 pairs are
a topic word among common words, a document about that topic and two about others. Real backbones, ranking losses that
need teacher scores, and learning rates for millions of pairs give way to these by ``--set``; all else
is the preset's own. The printed command is what was run, its temporary folder written as TMP.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

from lsr.presets import list_presets, load_preset

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOPICS = [f"topic{number}" for number in range(64)]
COMMON = [f"word{number}" for number in range(24)]
VOCABULARY = [*SPECIAL, *TOPICS, *COMMON]


def save_backbones(folder: Path) -> dict[str, Path]:
    """Save bodies without a head, one of them smaller, and a decoder."""
    torch.manual_seed(0)
    bert = {
        "vocab_size": len(VOCABULARY),
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "initializer_range": 0.2,
    }
    decoder = MistralConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        initializer_range=0.2,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        tie_word_embeddings=True,
    )
    made = {
        "mlm": damped(BertModel(BertConfig(**bert, hidden_size=32))),
        "small": damped(BertModel(BertConfig(**bert, hidden_size=16))),
        "dense": damped(BertModel(BertConfig(**bert, hidden_size=32))),
        "causal": MistralForCausalLM(decoder),
    }
    for name, model in made.items():
        model.save_pretrained(folder / name)
        save_tokenizer(folder / name)
    return {name: folder / name for name in made}


def damped(model: BertModel) -> BertModel:
    """Bring states close to their tokens' embeddings, as if the body knew a little; the head is then tied."""
    with torch.no_grad():
        model.embeddings.position_embeddings.weight *= 0.1
        for layer in model.encoder.layer:
            layer.attention.output.dense.weight *= 0.3
            layer.output.dense.weight *= 0.3
    return model


def save_tokenizer(folder: Path) -> None:
    words = {word: number for number, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair=None, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL, strict=True))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=64,
        **{f"{name}_token": token for name, token in special.items()},
    ).save_pretrained(folder)


def save_pairs(path: Path) -> None:
    draw = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for number in range(256):
            topic = TOPICS[number % len(TOPICS)]
            query = " ".join([topic, *draw.sample(COMMON, 2)])
            others = [document_about(draw.choice(TOPICS), draw) for _ in range(2)]
            pair = {"query": query, "positive": document_about(topic, draw), "negatives": others}
            file.write(json.dumps(pair) + "\n")


def document_about(topic: str, draw: random.Random) -> str:
    words = [topic, topic, *draw.sample(COMMON, 6)]
    draw.shuffle(words)
    return " ".join(words)


def settings_for(name: str, backbones: dict[str, Path], pairs: Path, steps: int) -> list[str]:
    """Return the ``--set`` values that put a preset on tiny checkpoints."""
    model = load_preset(name).model
    head = model["document"]["head"]
    kind = {"causal-lm": "causal", "dense": "dense"}.get(head, "mlm")
    values = [
        f"model.backbone={backbones[kind]}",
        f"data.sources=[{{path: {pairs}}}]",
        f"training.steps={steps}",
        "training.batch_size=32",
        "training.learning_rate=3e-3",
        "training.warmup=0",
        "training.log_every=5",
        "training.check_initialisation=false",
        "training.device=cpu",
        "training.bf16=false",
    ]
    if {"kl", "margin-mse"} & set(load_preset(name).losses.get("ranking", {})):
        values.append("losses.ranking={infonce: 1.0}")
    if model["query"].get("encoder", {}).get("backbone"):
        values.append(f"model.query.encoder.backbone={backbones['small']}")
    if model["document"].get("precision"):
        values.append("model.document.precision=float32")
    return values


def train(name: str, folder: Path, values: list[str]) -> tuple[str, str]:
    """Run ``lsr train``; return the command as one would type it and the row of figures."""
    command = ["train", name, "-o", str(folder / f"out-{name}")]
    for value in values:
        command += ["--set", value]
    done = subprocess.run(
        [sys.executable, "-m", "lsr.cli.main", *command], capture_output=True, text=True, check=False
    )
    shown = "lsr " + shlex.join(command).replace(str(folder), "TMP")
    if done.returncode:
        return shown, f"failed: {done.stderr.strip().splitlines()[-1]}"
    with (folder / f"out-{name}" / "training" / "log.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    ranking = next(key for key in rows[0] if key.startswith("loss/") and "/" not in key[5:])
    first, last = rows[0], rows[-1]
    figures = [f"{float(first[key]):.3f} to {float(last[key]):.3f}" for key in ("loss", ranking)]
    terms = f"{float(last['document_terms']):.0f} / {float(last['query_terms']):.1f}"
    best = f"{float(first['accuracy']):.2f} to {float(last['accuracy']):.2f}"
    return shown, " | ".join([ranking.removeprefix("loss/"), *figures, best, terms])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--presets", nargs="+", default=list_presets())
    parser.add_argument("--commands", action="store_true", help="print each command before its row")
    args = parser.parse_args()
    print(
        "| preset | ranking loss | loss, step 5 to last | ranking part | positive is best | terms a document / query |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        backbones = save_backbones(folder)
        save_pairs(folder / "pairs.jsonl")
        for name in args.presets:
            values = settings_for(name, backbones, folder / "pairs.jsonl", args.steps)
            command, row = train(name, folder, values)
            if args.commands:
                print(command)
            print(f"| {name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
