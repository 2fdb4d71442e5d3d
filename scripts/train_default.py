"""Train the models that the package ships: prepare inputs, embed them with the teachers, run.

python scripts/train_default.py prepare --train FOLDER --collections FOLDER --tokenizer FILE
    --inputs FOLDER
python scripts/train_default.py embed --inputs FOLDER --teacher minilm=FOLDER
    [--teacher mpnet=FOLDER=mpnet] [--part 0/1]
python scripts/train_default.py join --inputs FOLDER
python scripts/train_default.py run --inputs FOLDER --backbone FOLDER --output FOLDER [--recipe FILE] [--set KEY=VALUE]
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["prepare", "embed", "join", "run"])
    parser.add_argument("--train", type=Path)
    parser.add_argument("--collections", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--inputs", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--sample", type=float, default=1.0, help="share of the pairs, for a trial")
    parser.add_argument("--teacher", action="append", default=[], metavar="NAME=FOLDER[=mpnet]")
    parser.add_argument("--group", action="append", default=[], help="train, or a test collection")
    parser.add_argument("--part", default="0/1", metavar="I/N")
    parser.add_argument("--token-budget", type=int, default=65_536)
    parser.add_argument("--backbone", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--judge-teachers", action="store_true")
    args = parser.parse_args()

    if args.action == "prepare":
        from default_model.inputs import prepare

        prepare(args.train, args.collections, args.tokenizer, args.inputs, args.processes, args.sample)
        shutil.copy(args.tokenizer, args.inputs / "tokenizer.json")
    elif args.action == "embed":
        from default_model.embedding import embed_part

        part, parts = map(int, args.part.split("/"))
        groups = args.group or ["train"]
        embed_part(args.inputs, args.teacher, groups, part, parts, args.token_budget)
    elif args.action == "join":
        from default_model.embedding import join_parts

        join_parts(args.inputs)
    else:
        from default_model.run import Run
        from default_model.settings import read_settings

        settings = read_settings(args.recipe, args.set)
        Run(args.inputs, args.backbone, args.output, settings).whole(args.judge_teachers)


if __name__ == "__main__":
    main()
