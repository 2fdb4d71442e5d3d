"""``lsr mcp`` as a client of the protocol starts and asks it, over standard input and output."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

import lsr
from lsr.cli.main import main
from lsr.corpus import Document

mcp = pytest.importorskip("mcp", reason="mcp is not installed")

LONG = "electricity " + "word " * 9_000 + "end"


def test_a_client_searches_and_reads(tmp_path: Path) -> None:
    folder = tmp_path / "notes.index"
    documents = [
        Document("solar", "Panels turn sunlight into electricity.", "Solar panels", {"year": 2020}),
        Document("long", LONG, "A long one", {"year": 2021, "tags": ["a"]}),
    ]
    lsr.build_index(documents, folder, "bm25", durable=False)
    command = mcp.StdioServerParameters(
        command=sys.executable, args=["-m", "lsr.cli.main", "mcp", str(folder)], cwd=tmp_path
    )

    async def talk() -> dict[str, Any]:
        said: dict[str, Any] = {}
        async with mcp.stdio_client(command) as streams, mcp.ClientSession(*streams) as session:
            greeting = await session.initialize()
            said["server"], said["instructions"] = greeting.server_info.name, greeting.instructions
            said["tools"] = {tool.name: tool for tool in (await session.list_tools()).tools}

            async def call(name: str, **arguments: Any) -> Any:
                result = await session.call_tool(name, arguments)
                if result.is_error:
                    return result.content[0].text
                # Clients without structured content read the same as text.
                assert json.loads(result.content[0].text) in (
                    result.structured_content,
                    (result.structured_content.get("result") or [None])[0],
                )
                return result.structured_content

            said["found"] = await call("search", query="sunlight electricity", k=2)
            said["filtered"] = await call("search", query="electricity", where="year > 2020")
            said["mistake"] = await call("search", query="electricity", where="colour = 1")
            said["too many"] = await call("search", query="electricity", k=1_000)
            said["read"] = await call("read_document", id="solar")
            said["rest"] = await call("read_document", id="long", offset=40_000)
            said["missing"] = await call("read_document", id="none")
            lsr.delete_documents(["long"], folder)
            said["info"] = await call("index_info")
        return said

    said = asyncio.run(asyncio.wait_for(talk(), 120))
    assert said["server"] == "lsr notes"
    assert "2 documents" in said["instructions"]
    assert "year (integer)" in said["instructions"]
    assert set(said["tools"]) == {"search", "read_document", "index_info"}
    assert all(tool.annotations.read_only_hint for tool in said["tools"].values())
    assert "year (integer)" in said["tools"]["search"].description
    found = said["found"]["result"]
    assert [result["id"] for result in found] == ["solar", "long"]
    assert found[0]["snippet"] == "Panels turn sunlight into electricity."
    assert found[0]["metadata"] == {"year": 2020}
    assert len(found[1]["snippet"]) < 300
    assert [result["id"] for result in said["filtered"]["result"]] == ["long"]
    assert "there is no field 'colour'" in said["mistake"]
    assert "50" in said["too many"]
    assert said["read"]["text"] == "Panels turn sunlight into electricity."
    assert said["rest"] == {
        "id": "long",
        "title": "A long one",
        "metadata": {"year": 2021, "tags": ["a"]},
        "text": LONG[40_000:],
        "offset": 40_000,
        "characters": len(LONG),
    }
    assert "There is no document 'none'" in said["missing"]
    assert said["info"]["documents"] == 1


def test_refusals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["mcp", str(tmp_path / "nowhere")]) == 2
    assert "There is no index at" in capsys.readouterr().err
    lsr.build_index([Document("a", "text")], tmp_path / "an.index", "bm25", durable=False)
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    monkeypatch.delitem(sys.modules, "lsr.integrations.mcp", raising=False)
    assert main(["mcp", str(tmp_path / "an.index")]) == 2
    assert 'pip install "lsr-search[mcp]"' in capsys.readouterr().err
