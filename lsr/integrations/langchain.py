"""A LangChain retriever over an index.

    from lsr.integrations.langchain import LsrRetriever

    retriever = LsrRetriever(folder="notes.index", k=5)
    documents = retriever.invoke("battery life of old phones")

Needs ``pip install "lsr-search[langchain]"``.
"""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import PrivateAttr

from lsr.serving import LocalIndex
from lsr.serving.interface import Query, SearchOptions


class LsrRetriever(BaseRetriever):
    """Retrieves the best documents of an index, and finds what was added to it meanwhile.

    A document's metadata are its fields, ``title`` and ``score``; its id is the index's. `k` and `where`
    can be given to `invoke` too. Safe to use from several threads, as `batch` does.

    Args:
        folder: the index.
        k: documents wanted.
        where: a filter over their fields, see `lsr.index.filters`.

    Raises:
        lsr.index.IndexProblem: where the folder is no index.
        lsr.serving.interface.Refusal: for a mistake in the filter.
    """

    folder: str
    k: int = 10
    where: str | None = None
    _index: LocalIndex = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Open the index."""
        super().model_post_init(context)
        self._index = LocalIndex(self.folder, self.folder)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        where: str | None = None,
    ) -> list[Document]:
        options = SearchOptions(k or self.k, where or self.where, frozenset(("title", "text", "metadata")))
        return [
            Document(
                id=result.id,
                page_content=result.text or result.title or "",
                metadata={**(result.metadata or {}), "title": result.title, "score": result.score},
            )
            for result in self._index.search([Query(query)], options).results[0]
        ]
