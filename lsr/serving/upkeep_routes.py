"""Routes for those who run the service: is it well, is it ready, what has it done."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST

from lsr.serving.bodies import Health
from lsr.serving.describing import problems
from lsr.serving.service import Service


def upkeep_routes(service: Service) -> APIRouter:
    """Return the routes for upkeep; health and readiness take no key."""
    routes = APIRouter(tags=["upkeep"])

    @routes.get("/health", response_model=Health, responses=problems(), summary="Whether the service runs")
    async def health() -> Health:
        return Health("ok")

    @routes.get(
        "/ready", response_model=Health, responses=problems(), summary="Whether searches are answered"
    )
    async def ready() -> Health:
        def check() -> None:
            for index in service.indexes.values():
                index.check()

        await service.look(check)
        return Health("ok")

    @routes.get(
        "/metrics",
        dependencies=[Depends(service.may_read)] if service.settings.keys.reading_needs_key else [],
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems()},
        response_class=Response,
        summary="Figures for Prometheus",
    )
    async def metrics() -> Response:
        return Response(await service.look(service.metrics.text), media_type=CONTENT_TYPE_LATEST)

    return routes
