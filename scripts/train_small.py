"""Train a small encoder on a CPU in minutes; see recipes/small.yaml."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RECIPE = Path(__file__).parent / "recipes" / "small.yaml"
SOURCES = ("squad_sentences", "qa_wiki_small", "onstartups_qa", "medquad", "scitldr", "docs_help_misc")
LAYERS = 3


def cut_backbone(model: Path, folder: Path, layers: int = LAYERS) -> None:
    """Write the first layers of a dense model; early states still resemble the embeddings they came from."""
    from transformers import AutoModel, AutoTokenizer

    AutoModel.from_pretrained(str(model), num_hidden_layers=layers).save_pretrained(folder)
    AutoTokenizer.from_pretrained(str(model)).save_pretrained(folder)


def recipe(model: Path, data: Path, backbone: Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """Return the recipe's values with the places of model and data filled in."""
    import yaml

    from lsr.training.config import set_value

    values: dict[str, Any] = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    values["model"]["backbone"] = str(backbone)
    values["teachers"][0]["model"] = str(model)
    values["data"]["sources"] = [{"path": str(data / f"{name}.jsonl.gz")} for name in SOURCES]
    for change in changes:
        set_value(values, change)
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--data", type=Path, required=True, help="folder of training pairs")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()

    from lsr.training.config import parse_config
    from lsr.training.run import train

    with tempfile.TemporaryDirectory() as folder:
        cut_backbone(args.model, Path(folder))
        values = recipe(args.model, args.data, Path(folder), args.set)
        print(train(parse_config(values), args.output, values=values))


if __name__ == "__main__":
    main()
