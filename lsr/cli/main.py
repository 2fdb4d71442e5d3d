"""The ``lsr`` command: parses arguments, runs one sub-command, turns mistakes into one sentence."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

import lsr
from lsr.errors import UserError

# Each module offers add_parser(subparsers) and run(args) -> exit status, and imports nothing heavy
# at its top.
COMMANDS = ("index", "search", "encode", "eval", "info", "demo")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="lsr",
        description="Learned sparse retrieval in one tool: index texts, search them, evaluate on test collections.",
        epilog=(
            "examples:\n"
            "  lsr demo                                  index Python's own documentation and search it\n"
            "  lsr index notes/ -o notes.index           index a folder of text\n"
            '  lsr search notes.index "battery life"     search it\n'
            "  lsr eval beir/scifact/test                measure on a test collection\n"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lsr-search {lsr.__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"lsr.cli.{name}_command").add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, or 2 after a mistake of the user's."""
    args = build_parser().parse_args(argv)
    try:
        return int(args.run(args))
    except UserError as error:
        print(f"lsr: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lsr: interrupted; nothing was changed.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`lsr search ... | head`): not an error.
        sys.stderr.close()
        return 0


if __name__ == "__main__":
    sys.exit(main())
