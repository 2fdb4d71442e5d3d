"""Optional libraries: there, or one sentence that says how to get them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from lsr.errors import UserError


def require(module: str, name: str, what: str, extra: str) -> None:
    """Raise `UserError` where a library that `what` needs is not installed."""
    if importlib.util.find_spec(module) is None:
        raise UserError(f"{what} need {name}; install it with pip install 'lsr-search[{extra}]'.")


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep transformers' progress bars for a model's weights off the screen."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
