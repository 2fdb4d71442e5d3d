"""The search page: a few files of the package, told to browsers as what they are and nothing more."""

from __future__ import annotations

import hashlib
from importlib import resources

from fastapi import APIRouter, Request, Response

from lsr.serving.interface import NotFound

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Scripts and styles are the page's own files; nothing else is loaded from anywhere.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class _File:
    """One file, held in memory."""

    def __init__(self, content: bytes, media_type: str) -> None:
        self._content = content
        self._media_type = media_type
        self._tag = '"' + hashlib.sha256(content).hexdigest()[:32] + '"'

    def response(self, request: Request) -> Response:
        """Return the file, or that it has not changed since the browser got it."""
        # The browser asks each time: a newer version of the package has newer files.
        headers = {"etag": self._tag, "cache-control": "no-cache", "content-security-policy": _POLICY}
        if self._tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self._content, media_type=self._media_type, headers=headers)


def page_routes() -> APIRouter:
    """Return the routes of the search page."""
    routes = APIRouter(include_in_schema=False)
    files = {
        entry.name: _File(entry.read_bytes(), _TYPES[suffix])
        for entry in (resources.files("lsr.serving") / "page").iterdir()
        if (suffix := entry.name[entry.name.rfind(".") :]) in _TYPES
    }
    index = files.pop("index.html")

    @routes.api_route("/", methods=["GET", "HEAD"])
    async def page(request: Request) -> Response:
        return index.response(request)

    @routes.api_route("/page/{name}", methods=["GET", "HEAD"])
    async def file(name: str, request: Request) -> Response:
        # Looked up among a few names, never opened by name.
        if name not in files:
            raise NotFound("There is no such file of the page.")
        return files[name].response(request)

    return routes
