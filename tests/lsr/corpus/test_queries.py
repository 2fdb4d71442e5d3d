from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from lsr.corpus import Query, read_queries
from lsr.errors import UserError


@pytest.mark.parametrize("id_name", ["_id", "id", "qid", "query_id"])
@pytest.mark.parametrize("text_name", ["text", "query"])
def test_json_lines(tmp_path: Path, id_name: str, text_name: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(f'\n{{"{id_name}": 3, "{text_name}": "what"}}\n{{"id": "4", "vector": {{"a": 1}}}}\n')
    assert read_queries(path) == [Query("3", "what"), Query("4", "", {"a": 1.0})]


@pytest.mark.parametrize("header", ["", "qid\ttext\n", "query-id\tquery\n", "\ufeff_id\ttext\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_tabs(tmp_path: Path, header: str, packed: bool) -> None:
    path = tmp_path / "q.tsv"
    data = f'{header}1\t"what" is\tit\r\n\nq2\t\n'.encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    assert read_queries(str(path)) == [Query("1", '"what" is\tit'), Query("q2", "")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"1\tfine\njust text\n", ":2: has no tab"),
        (b"1\tfine\n\ttext\n", ":2: 'the id' is empty"),
        (b"1\tfine\n1\tagain\n", ":2: the query id '1' is that of line 1"),
        (b"1\tfine\n2\tcaf\xe9\n", ":2: byte 5 (0xe9) is not utf-8"),
        (b"1\tfine\n2\ta\0\n", "NUL"),
        (b'{"id": 1, "text": "x"}\n{"id": 2\n', ":2: is not JSON"),
        (b'{"id": 1, "text": "x"}\n[1]\n', ":2: holds a JSON array"),
        (b'[{"id": 1, "text": "x"}]\n', ":1: holds a JSON array"),
        (b'{"text": "x"}\n', ":1: the query has no id"),
        (b'{"id": 1}\n', ":1: the query has no text"),
        (b'{"id": 1, "text": 5}\n', "'text' is a number"),
        (b'{"id": null, "text": "x"}\n', "'id' is null"),
        (b'{"id": 1, "text": "\\ud800"}\n', "lone surrogate"),
        (b'{"id": 1, "text": "x", "vector": {"a": -1}}\n', "the weight of 'a' is -1"),
    ],
)
def test_bad_queries(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "q.txt"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_queries(path)
    assert str(caught.value).startswith(f"{path}:")
    assert said in str(caught.value)


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_queries(tmp_path / "q.tsv")
    with pytest.raises(UserError, match="cannot be read"):
        read_queries(tmp_path)
    (tmp_path / "q.tsv").touch()
    assert read_queries(tmp_path / "q.tsv") == []
    with pytest.raises(UserError, match="--encoding klingon"):
        read_queries(tmp_path / "q.tsv", encoding="klingon")
