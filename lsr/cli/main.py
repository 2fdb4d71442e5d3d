"""The ``lsr`` command: parses arguments, runs one sub-command, turns mistakes into one sentence."""

from __future__ import annotations

import argparse
import importlib
import os
import sqlite3
import sys
from collections.abc import Sequence

import lsr
from lsr.errors import UserError
from lsr.index.errors import IndexProblem

# Each module offers add_parser(subparsers) and run(args) -> exit status, and imports nothing heavy
# at its top.
COMMANDS = (
    "index",
    "add",
    "update",
    "delete",
    "compact",
    "search",
    "encode",
    "eval",
    "compare",
    "train",
    "mine",
    "info",
    "export",
    "serve",
    "mcp",
    "demo",
)


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
    # JSON and snippets hold any character; a terminal or pipe of another encoding gets what it can show.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        return int(args.run(args))
    except (UserError, IndexProblem) as error:
        print(f"lsr: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lsr: interrupted; nothing was changed.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`lsr search ... | head`): not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        print("lsr: memory ran out; try a smaller --batch-size.", file=sys.stderr)
        return 2
    except (OSError, sqlite3.OperationalError) as error:
        print(f"lsr: {_told(error)}; nothing was changed.", file=sys.stderr)
        return 2


def _told(error: Exception) -> str:
    """Return what the operating system refused, in words."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{(error.strerror or str(error)).rstrip('.')}"
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
