"""The forms of requests and answers; OpenAPI is made from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model
from pydantic_core import PydanticCustomError

from lsr.serving.interface import Include, IndexInfo, Result, ServedDocument, Side, TermWeight
from lsr.serving.settings import Limits

_INCLUDED: list[Include] = ["title", "text", "metadata"]
_MOST_NAME = 200
# Weights stay far enough below float32's end that no sum of products leaves it.
Weight = Annotated[float, Field(ge=0, le=1e9)]
Id = Annotated[str, Field(min_length=1, max_length=1_000, pattern=r"^[^\x00\t\n\r]+$")]


def _name(given: str) -> str:
    if not 1 <= len(given) <= _MOST_NAME or "\0" in given:
        raise PydanticCustomError("name", "names have 1 to 200 characters, none of them NUL")
    return given


# Said of the names in an object by `propertyNames`; pydantic would say it of a few names alone.
Name = Annotated[str, AfterValidator(_name)]
_NAMED = Field(
    json_schema_extra={"propertyNames": {"minLength": 1, "maxLength": _MOST_NAME, "pattern": r"^[^\x00]*$"}}
)
# JSON knows one kind of number: 10.0 is a whole one.
_WHOLE = BeforeValidator(lambda n: int(n) if isinstance(n, float) and n.is_integer() else n)
Scalar = bool | int | float | str


class Body(BaseModel):
    """A request's body: nothing is converted, and unknown fields are mistakes."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class Ranking(Body):
    """What searches of all kinds have in common.

    `where` is a filter over the documents' fields, for example `year >= 2020 and lang = 'en'`;
    `include` names what results hold beside id and score.
    """

    k: int = 10
    where: str | None = None
    include: list[Include] = _INCLUDED


class TextSearch(Ranking):
    """One query, as text."""

    query: str


class AddressSearch(Ranking):
    """One query that stands in an address, which cannot be as long as a body."""

    q: str


class VectorSearch(Ranking):
    """One query, as term weights computed elsewhere; terms that the index does not have are left out."""

    vector: dict[str, float]


class TextBatch(Ranking):
    """Several queries, as texts."""

    queries: list[str]


class VectorBatch(Ranking):
    """Several queries, as term weights."""

    vectors: list[dict[str, float]]


class Explain(Body):
    """A query, and the document whose score is to be explained."""

    query: str
    id: str


class Encode(Body):
    """Texts to encode, as queries or as documents."""

    texts: list[str]
    side: Side = "query"


class NewDocument(Body):
    """A document to be added. `metadata` becomes fields: values are scalars, or lists of them; null is none.

    `vector` holds term weights, for indexes of vectors that were made elsewhere.
    """

    id: Id
    title: str = ""
    text: str = ""
    metadata: Annotated[dict[Name, Scalar | list[Scalar] | None], _NAMED] = {}
    vector: Annotated[dict[Name, Weight], _NAMED] | None = None


class NewDocuments(Body):
    """Documents to be added, or to replace those with their ids."""

    documents: list[NewDocument]


class Deletion(Body):
    """Documents to be deleted, by id."""

    ids: list[Id]
    skip_missing: bool = False


@dataclass(frozen=True)
class Forms:
    """The forms of requests within the limits of a service."""

    text_search: type[TextSearch]
    address_search: type[AddressSearch]
    vector_search: type[VectorSearch]
    text_batch: type[TextBatch]
    vector_batch: type[VectorBatch]
    explain: type[Explain]
    encode: type[Encode]
    new_documents: type[NewDocuments]
    deletion: type[Deletion]


def request_forms(limits: Limits) -> Forms:
    """Return the forms of requests with the limits in them, which OpenAPI then states."""
    text = Annotated[str, Field(max_length=limits.query_characters)]
    vector = Annotated[dict[str, Weight], Field(max_length=limits.query_terms)]
    ranking: dict[str, Any] = {
        "k": (Annotated[int, Field(ge=1, le=limits.k), _WHOLE], min(10, limits.k)),
        "where": (Annotated[str, Field(max_length=limits.filter_characters)] | None, None),
    }
    # A character takes twelve bytes of an address at most.
    most = min(limits.header_bytes // 32, limits.query_characters)
    short = Annotated[str, Field(max_length=most)]
    in_address = {**ranking, "where": (short | None, None)}
    several = Field(min_length=1, max_length=limits.batch)
    documents = Field(min_length=1, max_length=limits.documents)
    # A text to encode may be a document, which only the size of the body limits.
    return Forms(
        create_model("TextSearch", __base__=TextSearch, query=(text, ...), **ranking),
        create_model("AddressSearch", __base__=AddressSearch, q=(short, ...), **in_address),
        create_model("VectorSearch", __base__=VectorSearch, vector=(vector, ...), **ranking),
        create_model(
            "TextBatch", __base__=TextBatch, queries=(Annotated[list[text], several], ...), **ranking
        ),
        create_model(
            "VectorBatch", __base__=VectorBatch, vectors=(Annotated[list[vector], several], ...), **ranking
        ),
        create_model("Explain", __base__=Explain, query=(text, ...), id=(Id, ...)),
        create_model("Encode", __base__=Encode, texts=(Annotated[list[str], several], ...)),
        create_model(
            "NewDocuments",
            __base__=NewDocuments,
            documents=(Annotated[list[NewDocument], documents], ...),
        ),
        create_model("Deletion", __base__=Deletion, ids=(Annotated[list[Id], documents], ...)),
    )


@dataclass(slots=True)
class Problem:
    """What was wrong, in one sentence."""

    error: str


@dataclass(slots=True)
class SearchAnswer:
    """The results of a query, best first; times are in milliseconds.

    `documents` is how many the index has; `missing_shards` names parts of it that did not answer.
    """

    results: list[Result]
    documents: int
    encode_ms: float
    search_ms: float
    missing_shards: list[str] = field(default_factory=list)


@dataclass(slots=True)
class BatchAnswer:
    """The results of each query, in the order of the queries; times are those of all of them."""

    results: list[list[Result]]
    documents: int
    encode_ms: float
    search_ms: float
    missing_shards: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Encoded:
    """The terms of each text, the heaviest first."""

    terms: list[list[TermWeight]]


@dataclass(slots=True)
class Documents:
    """Stored documents in the order asked for; null for an id that no document has."""

    documents: list[ServedDocument | None]


@dataclass(slots=True)
class Indexes:
    """The indexes of a service, and whether it takes changes."""

    indexes: list[IndexInfo]
    writable: bool


@dataclass(slots=True)
class Health:
    """How the service is: `ok`, or why not."""

    status: str
