"""Pack an inference-free encoder into the form in which the package ships its own.

    python scripts/pack_model.py CHECKPOINT lsr/models/default --idf corpus --max-terms 128
    python scripts/pack_model.py CHECKPOINT FOLDER --rows-from corpus.jsonl.gz --texts 20000

Prints the size of every file, the error of the worst matrices, and how far the packed model's
vectors are from the checkpoint's on the texts of ``--check`` (the first 100 of them): its float32
form, which differs by what the weights lost, and its int8 form, which differs by its arithmetic too.
``--rows-from`` lists the terms that its texts keep: with it, int8 looks for expansions among them
alone, and a text's own pieces are looked at anyway.
"""

from __future__ import annotations

import argparse
import gzip
import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from lsr.encoders import EncoderOptions
from lsr.encoders.learned import LearnedEncoder
from lsr.encoders.packing import pack_encoder, rows_in_use


def read_texts(path: Path, count: int) -> list[str]:
    """Return title and text of the first `count` records of a JSON-lines file."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        records = [json.loads(line) for line in islice(file, count)]
    return [f"{record.get('title', '')} {record.get('text', '')}".strip() for record in records]


def compare(name: str, got: Any, expected: Any) -> None:
    """Print how far the rows of `got` are from those of `expected`."""
    lengths = np.sqrt(got.multiply(got).sum(1)) * np.sqrt(expected.multiply(expected).sum(1))
    cosine = np.asarray(got.multiply(expected).sum(1)) / lengths
    difference = abs(got - expected)
    top = []
    for i in range(expected.shape[0]):
        a, b = got.getrow(i) if hasattr(got, "getrow") else got[[i]], expected[[i]]
        best = [set(row.indices[np.argsort(-row.data)[:10]]) for row in (a, b)]
        top.append(len(best[0] & best[1]) / 10)
    print(
        f"{name}: cosine least {cosine.min():.5f}, mean {cosine.mean():.5f}; largest difference "
        f"{difference.max():.4f}; of the ten heaviest terms {np.mean(top):.3f} the same; "
        f"{got.nnz / got.shape[0]:.1f} terms a document"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint")
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--idf", choices=["training", "corpus"], help="what queries use unless told otherwise"
    )
    parser.add_argument("--max-length", type=int)
    parser.add_argument("--max-terms", type=int)
    parser.add_argument("--lexical-weight", type=float)
    parser.add_argument("--query-k3", type=float)
    parser.add_argument("--activation", choices=["log1p", "double-log1p"])
    parser.add_argument("--terms", choices=["pieces", "words"])
    parser.add_argument("--pooled-tokens", choices=["all", "content"])
    parser.add_argument("--precision", choices=["int8", "float32"], default="int8")
    parser.add_argument("--rows-from", type=Path, nargs="+", default=[], metavar="JSONL")
    parser.add_argument("--rows", type=Path, metavar="NPY", help="the terms that expansion may reach, as ids")
    parser.add_argument("--least", type=int, default=2, help="texts that must keep a term (default: 2)")
    parser.add_argument("--texts", type=int, default=5000, help="texts read from each of --rows-from")
    parser.add_argument("--check", type=Path, metavar="JSONL", help="texts to compare vectors on")
    asked = parser.parse_args()
    settings = {
        name: value
        for name in (
            "idf", "max_length", "max_terms", "lexical_weight", "activation", "terms", "pooled_tokens", "query_k3",
            "precision",
        )
        if (value := getattr(asked, name)) is not None
    }  # fmt: skip
    options = EncoderOptions(settings={**settings, "precision": "float32"})
    encoder = LearnedEncoder.load(asked.checkpoint, options)
    rows = np.load(asked.rows) if asked.rows else None
    if asked.rows_from:
        texts = [text for path in asked.rows_from for text in read_texts(path, asked.texts)]
        rows = rows_in_use(encoder, texts, asked.least)
        print(f"{rows.size:,} of {encoder.model.vocabulary_size:,} terms are in use in {len(texts):,} texts")
    errors = pack_encoder(encoder, asked.folder, settings=settings, head_rows=rows)
    print("worst matrices:")
    for name, error in sorted(errors.items(), key=lambda item: -item[1])[:5]:
        print(f"  {error:.2%} {name}")
    for path in sorted(asked.folder.iterdir()):
        print(f"  {path.stat().st_size:12,} {path.name}")
    print(f"  {sum(path.stat().st_size for path in asked.folder.iterdir()):12,} bytes in all")
    if asked.check:
        texts = read_texts(asked.check, 100)
        expected = encoder.encode_documents(texts)
        for precision in ("float32", "int8"):
            packed = LearnedEncoder.load(
                str(asked.folder), EncoderOptions(settings={"precision": precision}, device="cpu")
            )
            compare(precision, packed.encode_documents(texts), expected)


if __name__ == "__main__":
    main()
