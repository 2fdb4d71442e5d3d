"""``lsr mcp``: an index as tools of language models, over the Model Context Protocol."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lsr.errors import UserError

_EXAMPLES = """\
examples:
  lsr mcp notes.index                                     speaks MCP on standard input and output
  claude mcp add notes -- lsr mcp /path/to/notes.index    so that a client starts it
"""


def add_parser(subparsers: Any) -> None:
    """Add this sub-command to the command line."""
    parser = subparsers.add_parser(
        "mcp",
        help="offer an index to language models (Model Context Protocol)",
        description=(
            "Serve an index over the Model Context Protocol, on standard input and output: tools to search it, to "
            "read its documents, and to tell what it holds. Clients start this command themselves; none of its "
            "tools changes anything."
        ),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("index", metavar="INDEX", help="folder of the index")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until standard input ends."""
    from lsr.serving import LocalIndex

    name = Path(args.index).resolve().name.removesuffix(".index")
    index = LocalIndex(args.index, name)
    try:
        from lsr.integrations.mcp import mcp_server
    except ImportError as error:
        raise UserError(
            f"lsr mcp needs the mcp package, version 2 ({error.name} is missing or older); "
            'run: pip install "lsr-search[mcp]"'
        ) from None
    mcp_server(index).run("stdio")
    index.close()
    return 0
