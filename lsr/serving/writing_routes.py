"""Routes that change an index; each takes a key for writing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import TypeAdapter

from lsr.corpus import Document, ReadOptions
from lsr.corpus.records import document_from_record
from lsr.corpus.report import BadDocument
from lsr.serving.bodies import NewDocument
from lsr.serving.describing import body_of, problems
from lsr.serving.interface import Change, Refusal
from lsr.serving.service import Service, checked, json_response, read_json

_change: TypeAdapter[Change] = TypeAdapter(Change)
_FAILURES = (400, 403, 404, 408, 409, 413, 415, 422)


def writing_routes(service: Service) -> APIRouter:
    """Return the routes that change an index."""
    routes = APIRouter(prefix="/v1/indexes", dependencies=[Depends(service.may_write)], tags=["writing"])
    forms = service.forms

    async def changed(index: str, call: Callable[[], Change]) -> Response:
        change = await service.write(call)
        service.metrics.changed_documents(index, change)
        return json_response(_change.dump_json(change))

    def documents_of(body: Any) -> list[Document]:
        """Return the documents in a body; in the thread of the change, since there may be many."""
        return _documents(checked(forms.new_documents, body).documents)

    @routes.post(
        "/{index}/documents",
        response_model=Change,
        responses=problems(*_FAILURES),
        openapi_extra=body_of(forms.new_documents),
        summary="Add documents; all of them become visible at once, or none",
    )
    async def add(index: str, request: Request) -> Response:
        served = service.index(index)
        body = await read_json(request)
        return await changed(index, lambda: served.add(documents_of(body)))

    @routes.put(
        "/{index}/documents",
        response_model=Change,
        responses=problems(*_FAILURES),
        openapi_extra=body_of(forms.new_documents),
        summary="Replace documents by id, add new ones",
    )
    async def update(index: str, request: Request) -> Response:
        served = service.index(index)
        body = await read_json(request)
        return await changed(index, lambda: served.update(documents_of(body)))

    @routes.post(
        "/{index}/documents/delete",
        response_model=Change,
        responses=problems(*_FAILURES),
        openapi_extra=body_of(forms.deletion),
        summary="Delete documents by id, all at once",
    )
    async def delete(index: str, request: Request) -> Response:
        served = service.index(index)
        form = checked(forms.deletion, await read_json(request))
        return await changed(index, lambda: served.delete(form.ids, skip_missing=form.skip_missing))

    return routes


def _documents(given: Sequence[NewDocument]) -> list[Document]:
    """Return documents as a corpus has them.

    Raises:
        Refusal: for what cannot be stored or encoded.
    """
    documents = []
    options = ReadOptions()
    for place, document in enumerate(given):
        record = document.model_dump(exclude_none=True, exclude={"metadata"})
        record["metadata"] = document.metadata
        try:
            documents.append(document_from_record(record, options, f"documents[{place}]"))
        except BadDocument as error:
            raise Refusal(f"documents[{place}]: {error}.") from None
    return documents
