"""What the routes of a service share: indexes, threads, keys, figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from fastapi import Request, Response, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json

from lsr.serving.bodies import request_forms
from lsr.serving.interface import NotFound, Refusal, ServedIndex
from lsr.serving.metrics import Metrics
from lsr.serving.settings import Settings
from lsr.serving.threads import Threads

T = TypeVar("T")
Form = TypeVar("Form", bound=BaseModel)

_bearer = HTTPBearer(auto_error=False, description="An API key of the service.")
_Given = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


class Unauthorized(Refusal):
    """A key is missing, or not one of the service's."""

    status = 401


class Forbidden(Refusal):
    """Nobody may do this here."""

    status = 403


class NotJson(Refusal):
    """The body is not JSON at all."""

    status = 400


class WrongType(Refusal):
    """The body is not declared to be JSON."""

    status = 415


class Service:
    """One application's indexes and how they are asked."""

    def __init__(self, indexes: Mapping[str, ServedIndex], settings: Settings) -> None:
        self.indexes = dict(indexes)
        self.settings = settings
        self.limits = settings.limits
        self.forms = request_forms(settings.limits)
        self.metrics = Metrics(self.indexes)
        self._reading = Threads("read", settings.threads, settings.limits.concurrency)
        self._looking = Threads("look", 1, 16)
        # Changes of an index wait for each other; those of several indexes go on side by side.
        self._writing = Threads("write", min(4, max(1, len(self.indexes))), settings.limits.concurrency)

    def index(self, name: str) -> ServedIndex:
        """Return the index of a name."""
        found = self.indexes.get(name)
        if found is None:
            raise NotFound("There is no such index; GET /v1/indexes lists those that there are.")
        return found

    async def read(self, call: Callable[[], T]) -> T:
        """Run what reads in a thread."""
        return await self._reading.run(call, self.limits.request_seconds)

    async def write(self, call: Callable[[], T]) -> T:
        """Run what changes an index, or takes as long, in a thread of its own kind."""
        return await self._writing.run(call, self.limits.write_seconds)

    async def look(self, call: Callable[[], T]) -> T:
        """Run what tells how the service is, in a thread that is free whatever else there is to do."""
        return await self._looking.run(call, self.limits.request_seconds)

    def finish(self) -> None:
        """Wait for what is at work and close the indexes."""
        for threads in (self._reading, self._writing, self._looking):
            threads.finish()
        for index in self.indexes.values():
            index.close()

    # Keys

    async def may_read(self, given: _Given) -> None:
        """Refuse those who may not read; a dependency of routes."""
        if not self.settings.keys.may_read(given.credentials if given else None):
            raise Unauthorized("Reading takes an API key: send it as Authorization: Bearer KEY.")

    async def may_write(self, given: _Given) -> None:
        """Refuse those who may not write; a dependency of routes."""
        if not self.settings.keys.writable:
            raise Forbidden("This service takes no changes: it was started without keys for writing.")
        if not self.settings.keys.may_write(given.credentials if given else None):
            raise Unauthorized("Changing an index takes an API key: send it as Authorization: Bearer KEY.")


def json_response(content: bytes) -> Response:
    """Return JSON that is written already."""
    return Response(content, media_type="application/json")


async def read_json(request: Request) -> Any:
    """Return what a request's body holds.

    Raises:
        Refusal: where it is not JSON, or not declared to be.
    """
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared != "application/json":
        # A page of another site can send forms and plain text without being asked first, but not JSON.
        raise WrongType("Send JSON, declared as Content-Type: application/json.")
    try:
        return from_json(await request.body(), allow_inf_nan=False)
    except ValueError as error:
        raise NotJson(f"The body is not JSON: {error}.") from None


def checked(form: type[Form], values: Any) -> Form:
    """Return values in a form.

    Raises:
        Refusal: where they do not fit.
    """
    try:
        return form.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise _told(first, error.error_count() - 1) from None


def _told(problem: ErrorDetails, more: int) -> Refusal:
    """Return what a form does not like as one sentence, without repeating what was sent."""
    place = ""
    for part in problem["loc"]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
    place = place if len(place) <= 100 else place[:99] + "…"
    others = f" There {'are' if more > 1 else 'is'} {more} more of this kind." if more else ""
    reason = problem["msg"].rstrip(".")
    return Refusal(f"{place or 'The body'}: {reason[:1].lower()}{reason[1:]}.{others}")
