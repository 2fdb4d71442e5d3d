"""DeepCT in the loop: weights of terms that queries ask for rise, those of the others fall."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lsr
from lsr.training.config import parse_config
from lsr.training.run import train


def test_weights_learn_what_queries_hold(
    values: Callable[..., dict[str, Any]], tmp_path: Path, pairs_file: Path
) -> None:
    whole = values(steps=80, batch_size=16, learning_rate=3e-3, log_every=20, check_initialisation=False)
    whole["model"]["document"] = {"head": "token-mlp", "activation": "relu", "special_tokens": "zero"}
    whole["model"]["query"] = {"kind": "binary"}
    whole["losses"] = {"terms": {"name": "term-mse"}}
    # Queries ask for words of the first half of the vocabulary alone, so that there is something to learn.
    words = sorted(
        {
            word
            for line in pairs_file.read_text().splitlines()
            for word in json.loads(line)["positive"].split()
        }
    )
    wanted = set(words[: len(words) // 2])
    pairs = [json.loads(line) for line in pairs_file.read_text().splitlines()]
    path = tmp_path / "pairs.jsonl"
    with path.open("w") as file:
        for pair in pairs:
            query = [word for word in pair["positive"].split() if word in wanted]
            file.write(json.dumps({"query": " ".join(query), "positive": pair["positive"]}) + "\n")
    whole["data"]["sources"] = [{"path": str(path)}]
    report = train(parse_config(whole), tmp_path / "out", values=whole, report=lambda line: None)
    assert report.figures["loss/term-mse"] < 0.15  # predicting one half everywhere gives .25
    encoder = lsr.load_encoder(tmp_path / "out")
    weights = encoder.encode_documents([" ".join(words[:4] + words[-4:])]).toarray()[0]
    ids = {term: number for number, term in enumerate(encoder.vocabulary)}
    asked = [weights[ids[word]] for word in words[:4]]
    ignored = [weights[ids[word]] for word in words[-4:]]
    assert min(asked) > max(ignored)
