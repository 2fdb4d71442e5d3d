"""What OpenAPI says of routes that read their bodies themselves, within limits that are settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.routing import compile_path

from lsr.serving.bodies import Forms, Problem

_REFERENCE = "#/components/schemas/{model}"
_REASONS = {
    400: "The body is not JSON.",
    401: "An API key is missing or wrong.",
    403: "The service takes no changes.",
    404: "There is no such index or document.",
    408: "The body did not come in time.",
    409: "An id is in the index already.",
    413: "The body is larger than the service takes.",
    415: "The body is not declared to be JSON.",
    421: "The service is not known by this name.",
    422: "Something in the request is not as it must be.",
    431: "The address or the headers are too long.",
    500: "The service failed.",
    503: "Too much to do, or the index cannot be read or written now.",
    504: "There was no answer within the time allowed.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the failures that a route tells, for its `responses`."""
    always = (401, 421, 500, 503, 504)
    return {
        status: {"model": Problem, "description": _REASONS[status]} for status in sorted({*always, *statuses})
    }


def body_of(*forms: type[BaseModel]) -> dict[str, Any]:
    """Return what says that a body is of one of the forms, for a route's `openapi_extra`."""
    references = [{"$ref": _REFERENCE.format(model=form.__name__)} for form in forms]
    schema = references[0] if len(references) == 1 else {"oneOf": references}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def parameters_of(form: type[BaseModel], names: Sequence[str]) -> dict[str, Any]:
    """Return what says that fields of a form are query parameters, for a route's `openapi_extra`."""
    schema = form.model_json_schema(ref_template=_REFERENCE)
    required = schema.get("required", [])
    parameters = []
    for name in names:
        part = dict(schema["properties"][name])
        # A parameter is there or not; it cannot be null.
        if "anyOf" in part:
            part = next(dict(one) for one in part["anyOf"] if one.get("type") != "null")
        part.pop("title", None)
        parameters.append({"name": name, "in": "query", "required": name in required, "schema": part})
    return {"parameters": parameters}


def ids_parameter(most: int) -> dict[str, Any]:
    """Return what says that the parameter ``id`` names documents, for a route's `openapi_extra`."""
    schema = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": most}
    return {
        "parameters": [{"name": "id", "in": "query", "required": True, "schema": schema, "explode": True}]
    }


def describe(app: FastAPI, forms: Forms) -> None:
    """Let an application's OpenAPI include the forms of requests."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            for form in vars(forms).values():
                described = form.model_json_schema(ref_template=_REFERENCE)
                schemas.update(described.pop("$defs", {}))
                schemas[form.__name__] = described
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def methods_at(app: FastAPI, path: str) -> list[str]:
    """Return the methods that a path knows."""
    known = app.openapi()["paths"]
    found = (known[pattern] for pattern in known if compile_path(pattern)[0].match(path))
    return sorted(method.upper() for methods in found for method in methods)
