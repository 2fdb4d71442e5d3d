"""A Model Context Protocol server over an index: what ``lsr mcp INDEX`` runs. Needs the extra ``mcp``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field
from typing_extensions import TypedDict

import lsr
from lsr.serving.interface import Query, Refusal, SearchOptions, ServedIndex

_MOST_RESULTS = 50
_CHARACTERS = 20_000


class FoundDocument(TypedDict):
    """A document that a search found; `snippet` is the part of its text that fits the query best."""

    id: str
    title: str
    score: float
    snippet: str
    metadata: dict[str, Any]


class DocumentPart(TypedDict):
    """A part of a document's text, from character `offset` on, of `characters` in all."""

    id: str
    title: str
    metadata: dict[str, Any]
    text: str
    offset: int
    characters: int


def mcp_server(index: ServedIndex) -> MCPServer[Any]:
    """Return a server with tools that search an index, read its documents and tell what it holds."""
    info = index.info()
    fields = ", ".join(f"{name} ({kind})" for name, kind in info.fields.items()) or "none"
    server: MCPServer[Any] = MCPServer(
        f"lsr {info.name}",
        version=lsr.__version__,
        instructions=(
            f"Search {info.name}, an index of {info.documents:,} documents, then read what looks right. "
            f"Fields that filters can ask about: {fields}."
        ),
        log_level="ERROR",
    )
    reading = ToolAnnotations(read_only_hint=True, open_world_hint=False)

    @server.tool(
        title=f"Search {info.name}",
        description=(
            "Find the documents that fit a query best; read_document gives one whole. "
            f"Fields that `where` can ask about: {fields}."
        ),
        annotations=reading,
    )
    def search(
        query: Annotated[str, Field(description="What to search for, in words or a whole question")],
        k: Annotated[int, Field(ge=1, le=_MOST_RESULTS, description="Documents wanted")] = 5,
        where: Annotated[
            str | None, Field(description="SQL condition over fields, like year >= 2020 and lang = 'en'")
        ] = None,
    ) -> list[FoundDocument]:
        options = SearchOptions(k, where, frozenset(("title", "snippet", "metadata")))
        try:
            results = index.search([Query(query)], options).results[0]
        except Refusal as refusal:
            raise ToolError(str(refusal)) from None
        return [
            FoundDocument(
                id=result.id,
                title=result.title or "",
                score=round(result.score, 4),
                snippet=result.snippet or "",
                metadata=result.metadata or {},
            )
            for result in results
        ]

    @server.tool(title=f"Read a document of {info.name}", annotations=reading)
    def read_document(
        id: Annotated[str, Field(description="A document's id, as search gives it")],
        offset: Annotated[int, Field(ge=0, description="Character to begin at, for long documents")] = 0,
    ) -> DocumentPart:
        """Return a document's text, 20,000 characters at a time."""
        document = index.documents([id])[0]
        if document is None:
            raise ToolError(f"There is no document {id!r}; search gives the ids of those that there are.")
        text = document.text or ""
        return DocumentPart(
            id=document.id,
            title=document.title,
            metadata=document.metadata,
            text=text[offset : offset + _CHARACTERS],
            offset=offset,
            characters=len(text),
        )

    @server.tool(title=f"What {info.name} holds", annotations=reading)
    def index_info() -> dict[str, Any]:
        """Tell how many documents the index holds, their fields with types, and its encoder."""
        return asdict(index.info())

    return server
