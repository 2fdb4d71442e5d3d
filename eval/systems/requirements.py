"""Optional libraries: there, or one sentence that says how to get them."""

from __future__ import annotations

import importlib.util

from lsr.errors import UserError


def require(module: str, name: str, what: str, extra: str) -> None:
    """Raise `UserError` where a library that `what` needs is not installed."""
    if importlib.util.find_spec(module) is None:
        raise UserError(f"{what} need {name}; install it with pip install 'lsr-search[{extra}]'.")
