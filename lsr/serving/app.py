"""The HTTP service as an ASGI application, over anything that is searched like an index."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

import lsr
from lsr.serving.describing import describe, methods_at
from lsr.serving.gate import Gate, problem_response, refusal_response
from lsr.serving.interface import Refusal, ServedIndex
from lsr.serving.page_routes import page_routes
from lsr.serving.reading_routes import reading_routes
from lsr.serving.service import Service
from lsr.serving.settings import Settings
from lsr.serving.upkeep_routes import upkeep_routes
from lsr.serving.writing_routes import writing_routes

_DESCRIPTION = (
    "Search and change indexes of learned sparse retrieval. Failures are one sentence: "
    '`{"error": "..."}`. Keys are sent as `Authorization: Bearer KEY`.'
)


def create_app(indexes: Mapping[str, ServedIndex], settings: Settings | None = None) -> FastAPI:
    """Return the application that serves `indexes` by their names.

    When the application's lifespan ends, calls at work are waited for and the indexes closed.

    Slow clients are the server's business, see `lsr.serving.protocol`; everything else is handled here.
    """
    settings = settings or Settings()
    service = Service(indexes, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        yield {"limits": settings.limits}
        await asyncio.to_thread(service.finish)

    app = FastAPI(
        title="lsr",
        version=lsr.__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        # The usual pages for OpenAPI load their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    app.include_router(reading_routes(service))  # Routes are tried in turn: the busiest come first.
    app.include_router(upkeep_routes(service))
    app.include_router(writing_routes(service))
    if settings.page:
        app.include_router(page_routes())
    app.add_middleware(Gate, settings=settings, metrics=service.metrics)
    describe(app, service.forms)

    @app.exception_handler(Refusal)
    async def refused(request: Request, refusal: Refusal) -> Response:
        return refusal_response(refusal)

    @app.exception_handler(HTTPException)
    async def unrouted(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        sentence = f"{error.detail}."
        if error.status_code == 404:
            sentence = "There is nothing at this address; GET /openapi.json lists what there is."
        elif error.status_code == 405 and (methods := methods_at(app, request.url.path)):
            # The router tells those of the first route that has the path alone.
            headers["Allow"] = ", ".join(methods)
            sentence = f"This address takes {headers['Allow']}."
        return problem_response(error.status_code, sentence, headers)

    @app.exception_handler(ClientDisconnect)
    async def left(request: Request, error: ClientDisconnect) -> Response:
        return problem_response(400, "The body was not sent to its end.")

    return app
