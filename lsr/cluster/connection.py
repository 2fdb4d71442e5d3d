"""Connecting to a Ray cluster."""

from __future__ import annotations

import importlib
import os
import socket
from typing import Any

from lsr.errors import UserError

# Seconds that a cluster may take to answer.
_SECONDS = 10.0


def connect(address: str) -> tuple[Any, bool]:
    """Connect this process to a cluster, and return Ray's module and whether it was not connected before.

    Args:
        address: ``HOST:PORT`` of the cluster's head, ``ray://HOST:PORT``, ``auto`` for the one this
            machine belongs to, or ``local`` for one that is started on this machine and ends with this
            process.

    Raises:
        UserError: where Ray is not installed, or no cluster answers.
    """
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        raise UserError(
            "--ray needs Ray, which is not installed; run: pip install 'lsr-search[ray]'"
        ) from None
    if ray.is_initialized():
        return ray, False
    _check_answers(address)
    # Workers' output would be mixed into the command's.
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "namespace": "lsr"}
    # Ray warns that workers without GPUs will see none in a later version; they want none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        if address == "local":
            ray.init(address="local", include_dashboard=False, **options)
        else:
            ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _no_cluster(address, reason) from None
    return ray, True


def _check_answers(address: str) -> None:
    """Refuse an address where nobody listens; Ray itself would try for many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS).close()
    except OSError as error:
        raise _no_cluster(address, error.strerror or str(error)) from None


def _no_cluster(address: str, reason: str) -> UserError:
    return UserError(
        f"--ray {address}: no Ray cluster answers there ({reason}); start one with ray start --head, or take "
        "--ray local."
    )
