"""What every request passes before it comes to a route, and every answer on its way out."""

from __future__ import annotations

import logging
import time

from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lsr.serving.interface import Refusal
from lsr.serving.metrics import Metrics
from lsr.serving.settings import Settings

_log = logging.getLogger("lsr.serving")
# Answers are data: no page may run anything of them, frame them, or keep them.
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_DATA_HEADERS = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)


class TooLarge(Refusal):
    """The body is larger than the service takes."""

    status = 413


class WrongHost(Refusal):
    """The service is not known by the name that it was called by."""

    status = 421


def problem_response(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    """Return a failure as the service tells it."""
    return Response(
        to_json({"error": sentence}), status_code=status, media_type="application/json", headers=headers
    )


def refusal_response(refusal: Refusal) -> Response:
    """Return a refusal as the service tells it."""
    headers = {}
    if refusal.status == 401:
        headers["www-authenticate"] = "Bearer"
    elif refusal.status == 503:
        headers["retry-after"] = "1"
    elif refusal.status == 413:
        headers["connection"] = "close"  # What is left of the body is not read.
    return problem_response(refusal.status, str(refusal), headers)


class Gate:
    """Checks the host and the size of bodies, adds headers to answers, tells failures, and counts all of it."""

    def __init__(self, app: ASGIApp, *, settings: Settings, metrics: Metrics) -> None:
        self._app = app
        self._most = settings.limits.body_bytes
        self._hosts = settings.allowed_hosts
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"] = list(message.get("headers", ()))
                headers += _HEADERS
                if not any(
                    name == b"content-security-policy" for name, _ in headers
                ):  # The page has its own.
                    headers += _DATA_HEADERS
            await send(message)

        self._metrics.open_requests.inc()
        try:
            refusal = self._refusal(scope)
            if refusal is not None:
                await refusal_response(refusal)(scope, receive, send_on)
            else:
                await self._app(scope, self._limited(receive), send_on)
        except Exception:
            if status:  # Half an answer is cut off, which the server does.
                raise
            _log.exception("%s %s failed", scope["method"], scope["path"])
            failed = problem_response(500, "The service failed; its log says why.")
            await failed(scope, receive, send_on)
        finally:
            self._metrics.open_requests.dec()
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.answered(scope["method"], route, status, time.perf_counter() - start)

    def _refusal(self, scope: Scope) -> Refusal | None:
        host = length = None
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
            elif name == b"content-length":
                length = value
        if self._hosts is not None and _name(host) not in self._hosts:
            return WrongHost(
                f"This service does not answer for {_shown(_name(host))}; name it with --allowed-host to let it."
            )
        if length is not None and length.isdigit() and int(length) > self._most:
            return self._too_large()
        return None

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The body is larger than {self._most:,} bytes; send less at a time.")

    def _limited(self, receive: Receive) -> Receive:
        """Return `receive` for a body that may not say how large it is."""
        taken = 0

        async def limited() -> Message:
            nonlocal taken
            message: Message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._most:
                raise self._too_large()
            return message

        return limited


def _name(host: bytes | None) -> str:
    """Return the name in a Host header, without the port."""
    text = (host or b"").decode("latin-1").lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return text.partition(":")[0].rstrip(".")


def _shown(name: str) -> str:
    return repr(name if len(name) <= 80 else name[:79] + "…")
