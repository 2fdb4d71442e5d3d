"""Retrievers of other frameworks, with the frameworks themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import lsr
from lsr.corpus import Document
from lsr.serving.interface import Refusal

DOCUMENTS = [
    Document("solar", "Photovoltaic panels turn sunlight into electricity.", "Solar panels", {"year": 2020}),
    Document("wind", "Turbines turn moving air into electricity.", "Wind turbines", {"year": 2021}),
    Document("bread", "Flour, water and patience become bread.", "Sourdough", {"tags": ["food"]}),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "notes.index"
    lsr.build_index(DOCUMENTS, path, "bm25", durable=False)
    return path


def test_langchain(folder: Path) -> None:
    pytest.importorskip("langchain_core", reason="langchain-core is not installed")
    from langchain_core.documents import Document as Found
    from langchain_core.runnables import RunnableLambda

    from lsr.integrations.langchain import LsrRetriever

    retriever = LsrRetriever(folder=str(folder), k=2)
    with lsr.Searcher(folder) as searcher:
        expected = searcher.search("electricity from panels", 2)
    found = retriever.invoke("electricity from panels")
    assert all(isinstance(document, Found) for document in found)
    assert [(d.id, d.page_content, d.metadata["score"]) for d in found] == [
        (hit.id, hit.text, hit.score) for hit in expected
    ]
    assert found[0].metadata == {"year": 2020, "title": "Solar panels", "score": expected[0].score}
    assert [d.id for d in retriever.invoke("electricity", k=5, where="year > 2020")] == ["wind"]
    assert [[d.id for d in one] for one in retriever.batch(["bread"] * 20)] == [["bread"]] * 20
    assert [d.id for d in asyncio.run(retriever.ainvoke("bread"))] == ["bread"]
    chain = retriever | RunnableLambda(lambda documents: [d.metadata["title"] for d in documents])
    assert chain.invoke("sourdough patience") == ["Sourdough"]
    with pytest.raises(Refusal, match="no field"):
        retriever.invoke("bread", where="colour = 1")
    lsr.add_documents([Document("tide", "Tides make electricity too.")], folder)
    assert {d.id for d in retriever.invoke("electricity", k=9)} == {"solar", "wind", "tide"}


def test_llama_index(folder: Path) -> None:
    pytest.importorskip("llama_index.core", reason="llama-index-core is not installed")
    from llama_index.core.schema import NodeWithScore

    from lsr.integrations.llama_index import LsrRetriever

    retriever = LsrRetriever(folder, k=2)
    with lsr.Searcher(folder) as searcher:
        expected = searcher.search("electricity from panels", 2)
    found = retriever.retrieve("electricity from panels")
    assert all(isinstance(node, NodeWithScore) for node in found)
    assert [(n.node_id, n.text, n.score) for n in found] == [
        (hit.id, hit.text, hit.score) for hit in expected
    ]
    assert found[0].metadata == {"year": 2020, "title": "Solar panels"}
    assert [n.node_id for n in asyncio.run(retriever.aretrieve("bread"))] == ["bread"]
    assert [n.node_id for n in LsrRetriever(folder, where="year > 2020").retrieve("electricity")] == ["wind"]
    lsr.add_documents([Document("tide", "Tides make electricity too.")], folder)
    assert {n.node_id for n in LsrRetriever(folder).retrieve("electricity")} == {"solar", "wind", "tide"}
