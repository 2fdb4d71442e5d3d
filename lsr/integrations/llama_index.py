"""A LlamaIndex retriever over an index.

    from lsr.integrations.llama_index import LsrRetriever

    retriever = LsrRetriever("notes.index", k=5)
    nodes = retriever.retrieve("battery life of old phones")

Needs ``pip install "lsr-search[llama-index]"``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from lsr.serving import LocalIndex
from lsr.serving.interface import Query, SearchOptions


class LsrRetriever(BaseRetriever):
    """Retrieves the best documents of an index as nodes, and finds what was added to it meanwhile.

    A node's metadata are the document's fields and ``title``; its id is the index's.

    Args:
        folder: the index.
        k: nodes wanted.
        where: a filter over the documents' fields, see `lsr.index.filters`.
        named: what LlamaIndex's own retrievers take, ``callback_manager`` for example.

    Raises:
        lsr.index.IndexProblem: where the folder is no index.
        lsr.serving.interface.Refusal: in `retrieve`, for a mistake in the filter.
    """

    def __init__(self, folder: str | Path, k: int = 10, where: str | None = None, **named: Any) -> None:
        super().__init__(**named)
        self._index = LocalIndex(folder, str(folder))
        self._options = SearchOptions(k, where, frozenset(("title", "text", "metadata")))

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        nodes = []
        for result in self._index.search([Query(query_bundle.query_str)], self._options).results[0]:
            metadata = {**(result.metadata or {}), "title": result.title}
            node = TextNode(id_=result.id, text=result.text or result.title or "", metadata=metadata)
            nodes.append(NodeWithScore(node=node, score=result.score))
        return nodes
