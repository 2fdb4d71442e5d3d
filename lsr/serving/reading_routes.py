"""Routes that read: searching, explaining, documents, encoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import TypeAdapter

from lsr.serving.bodies import (
    BatchAnswer,
    Documents,
    Encoded,
    Indexes,
    Ranking,
    SearchAnswer,
)
from lsr.serving.describing import body_of, ids_parameter, parameters_of, problems
from lsr.serving.interface import Answer, Explanation, IndexInfo, Query, Refusal, SearchOptions
from lsr.serving.service import Service, checked, json_response, read_json

_IDS_IN_ADDRESS = 50
_PARAMETERS = ("q", "k", "where", "include")


class _Written:
    """Writes answers of one type as JSON, without what is absent."""

    def __init__(self, kind: Any) -> None:
        self._adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def __call__(self, value: Any) -> bytes:
        return self._adapter.dump_json(value, exclude_none=True)


_indexes, _info, _documents = _Written(Indexes), _Written(IndexInfo), _Written(Documents)
_search, _batch, _encoded = _Written(SearchAnswer), _Written(BatchAnswer), _Written(Encoded)
_explanation = _Written(Explanation)


def reading_routes(service: Service) -> APIRouter:
    """Return the routes that read."""
    # A dependency costs every request a tenth of its time: it is there where it has something to refuse.
    keys = [Depends(service.may_read)] if service.settings.keys.reading_needs_key else []
    routes = APIRouter(prefix="/v1/indexes", dependencies=keys, tags=["reading"])
    forms = service.forms
    most_ids = min(_IDS_IN_ADDRESS, service.limits.documents)

    async def answered(
        index: str, queries: Sequence[Query], ranking: Ranking, write: Callable[[Answer], bytes]
    ) -> Response:
        """Search, and write the answer in the same thread."""
        served = service.index(index)
        seconds = service.limits.request_seconds
        options = SearchOptions(ranking.k, ranking.where, frozenset(ranking.include), seconds)

        def call() -> tuple[Answer, bytes]:
            answer = served.search(queries, options)
            return answer, write(answer)

        answer, content = await service.read(call)
        service.metrics.searched(index, len(queries), answer)
        return json_response(content)

    def write_one(answer: Answer) -> bytes:
        return _search(SearchAnswer(answer.results[0], *_rest(answer)))

    def write_batch(answer: Answer) -> bytes:
        return _batch(BatchAnswer(answer.results, *_rest(answer)))

    @routes.post(
        "/{index}/search",
        response_model=SearchAnswer,
        responses=problems(400, 404, 408, 413, 415, 422),
        openapi_extra=body_of(forms.text_search, forms.vector_search),
        summary="Search with one query",
    )
    async def search(index: str, request: Request) -> Response:
        body = await read_json(request)
        if isinstance(body, dict) and "vector" in body:
            by_vector = checked(forms.vector_search, body)
            return await answered(index, [Query(vector=by_vector.vector)], by_vector, write_one)
        form = checked(forms.text_search, body)
        return await answered(index, [Query(form.query)], form, write_one)

    @routes.get(
        "/{index}/search",
        response_model=SearchAnswer,
        responses=problems(404, 422, 431),
        openapi_extra=parameters_of(forms.address_search, _PARAMETERS),
        summary="Search with one query in the address",
    )
    async def search_address(index: str, request: Request) -> Response:
        form = checked(forms.address_search, _from_address(request))
        return await answered(index, [Query(form.q)], form, write_one)

    @routes.post(
        "/{index}/search/batch",
        response_model=BatchAnswer,
        responses=problems(400, 404, 408, 413, 415, 422),
        openapi_extra=body_of(forms.text_batch, forms.vector_batch),
        summary="Search with several queries",
    )
    async def search_batch(index: str, request: Request) -> Response:
        body = await read_json(request)
        if isinstance(body, dict) and "vectors" in body:
            by_vector = checked(forms.vector_batch, body)
            queries = [Query(vector=vector) for vector in by_vector.vectors]
            return await answered(index, queries, by_vector, write_batch)
        form = checked(forms.text_batch, body)
        return await answered(index, [Query(text) for text in form.queries], form, write_batch)

    @routes.post(
        "/{index}/explain",
        response_model=Explanation,
        responses=problems(400, 404, 408, 413, 415, 422),
        openapi_extra=body_of(forms.explain),
        summary="What a document's score for a query is made of",
    )
    async def explain(index: str, request: Request) -> Response:
        served = service.index(index)
        form = checked(forms.explain, await read_json(request))
        query = Query(form.query)
        return json_response(await service.read(lambda: _explanation(served.explain(query, form.id))))

    @routes.get(
        "/{index}/documents",
        response_model=Documents,
        responses=problems(404, 422, 431),
        openapi_extra=ids_parameter(most_ids),
        summary="Documents by id",
    )
    async def documents(index: str, request: Request) -> Response:
        served = service.index(index)
        ids = request.query_params.getlist("id")
        if not 1 <= len(ids) <= most_ids:
            raise Refusal(f"Name from 1 to {most_ids} documents, each as id=...")
        return json_response(await service.read(lambda: _documents(Documents(served.documents(ids)))))

    @routes.post(
        "/{index}/encode",
        response_model=Encoded,
        responses=problems(400, 404, 408, 413, 415, 422),
        openapi_extra=body_of(forms.encode),
        summary="The term weights of texts",
    )
    async def encode(index: str, request: Request) -> Response:
        served = service.index(index)
        form = checked(forms.encode, await read_json(request))
        run = service.read if form.side == "query" else service.write
        return json_response(await run(lambda: _encoded(Encoded(served.encode(form.texts, form.side)))))

    @routes.get("", response_model=Indexes, responses=problems(), summary="List the indexes")
    async def indexes() -> Response:
        def call() -> bytes:
            infos = [served.info() for served in service.indexes.values()]
            return _indexes(Indexes(infos, service.settings.keys.writable))

        return json_response(await service.read(call))

    @routes.get("/{index}", response_model=IndexInfo, responses=problems(404), summary="What an index holds")
    async def info(index: str) -> Response:
        served = service.index(index)
        return json_response(await service.read(lambda: _info(served.info())))

    return routes


def _rest(answer: Answer) -> tuple[int, float, float, list[str]]:
    """Return what answers to one query and to several have in common."""
    encode, search = (round(s * 1e3, 3) for s in (answer.encode_seconds, answer.search_seconds))
    return answer.documents, encode, search, answer.missing_shards


def _from_address(request: Request) -> dict[str, Any]:
    """Return the fields of a search that stands in an address."""
    values: dict[str, Any] = {}
    for name in _PARAMETERS:
        given = request.query_params.getlist(name)
        if name == "include":
            if given:
                values[name] = given
        elif len(given) > 1:
            raise Refusal(f"{name} is given more than once.")
        elif given:
            values[name] = given[0]
    if unknown := set(request.query_params) - set(_PARAMETERS):
        raise Refusal(f"There is no parameter {min(unknown)[:40]!r}; there are q, k, where and include.")
    if "k" in values:
        try:
            values["k"] = int(values["k"][:20])
        except ValueError:
            raise Refusal("k: it is a whole number.") from None
    return values
