"""Exported files hold every live document's stored impacts, in the engines' documented forms."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsr.corpus.queries import Query
from lsr.errors import UserError
from lsr.export import export_index
from lsr.export.engine import ENGINES, collection_name
from lsr.export.feature_fields import significant
from lsr.export.parts import PartWriter
from lsr.export.varints import pair_messages, varint

Expected = list[tuple[str, dict[str, int]]]


def lines(folder: Path, pattern: str) -> list[Any]:
    return [
        json.loads(line)
        for path in sorted(folder.glob(pattern))
        for line in path.read_text("utf-8").splitlines()
    ]


def terms_file(folder: Path) -> list[dict[str, Any]]:
    return lines(folder, "query_terms.jsonl")


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_a_folder_appears_with_all_that_loading_and_asking_need(
    folder: Path, tmp_path: Path, engine: str
) -> None:
    report = export_index(folder, engine, tmp_path / "out", queries=[Query("q", "", {"plain": 1.0})])
    assert (report.documents, report.collection, report.queries) == (54, "my_papers", 1)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"README.md", "query_encoder", "query_terms.jsonl"} < names
    assert {"queries.tsv", "queries.jsonl"} & names
    guide = (tmp_path / "out" / "README.md").read_text()
    assert "54 documents" in guide
    assert "## Load" in guide
    assert "## Query" in guide
    assert report.bytes == sum(p.stat().st_size for p in (tmp_path / "out").rglob("*") if p.is_file())
    with pytest.raises(UserError, match="exists already; name a new folder to export to"):
        export_index(folder, engine, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("engine", ["opensearch", "elasticsearch"])
def test_bulk_files(folder: Path, tmp_path: Path, expected: Expected, engine: str) -> None:
    export_index(folder, engine, tmp_path / "out")
    rows = lines(tmp_path / "out", "bulk-*.ndjson")
    actions, bodies = rows[::2], rows[1::2]
    names = {line.get("name", line["term"]): line["term"] for line in terms_file(tmp_path / "out")}
    found = [
        (action["index"]["_id"], {names[name]: code for name, code in body["impacts"].items()})
        for action, body in zip(actions, bodies, strict=True)
    ]
    assert found == expected
    assert [body["number"] for body in bodies] == list(range(54))
    dots = {name for body in bodies for name in body["impacts"] if "." in name}
    assert dots == ({"v1.2", "."} if engine == "opensearch" else set())
    mapping = json.loads((tmp_path / "out" / "index.json").read_text())["mappings"]
    properties = mapping["properties"]
    assert properties["impacts"] == {"type": "rank_features" if engine == "opensearch" else "sparse_vector"}
    assert mapping["_meta"]["lsr"]["step"] == 1.0
    # A field whose name would be a path is kept, where nothing reads it as one.
    assert set(properties["fields"]["properties"]) == {"year", "tags"}
    assert bodies[0]["fields"] == {"year": 2000, "tags": []}
    assert bodies[0]["metadata"] == {"dotted.name": 0}
    # Nothing but what the mapping knows.
    assert all(set(body) <= set(properties) for body in bodies)


def test_milvus_files(folder: Path, tmp_path: Path, expected: Expected) -> None:
    report = export_index(folder, "milvus", tmp_path / "out")
    terms = [line["term"] for line in terms_file(tmp_path / "out")]
    rows = json.loads((tmp_path / "out" / "rows-00000.json").read_text())["rows"]
    found = [
        (row["id"], {terms[int(term)]: int(value) for term, value in row["impacts"].items()}) for row in rows
    ]
    assert found == [(id_, codes) for id_, codes in expected if codes]
    assert report.notes == (
        "1 without any term left out: Milvus takes no empty vector, and they can't be found.",
    )
    request = json.loads((tmp_path / "out" / "collection.json").read_text())
    fields = {field["fieldName"]: field["dataType"] for field in request["schema"]["fields"]}
    assert set(fields) == set(rows[0])
    assert fields["impacts"] == "SparseFloatVector"


def test_qdrant_files(folder: Path, tmp_path: Path, expected: Expected) -> None:
    export_index(folder, "qdrant", tmp_path / "out")
    terms = [line["term"] for line in terms_file(tmp_path / "out")]
    points = json.loads((tmp_path / "out" / "points-00000.json").read_text())["points"]
    found = []
    for point in points:
        vector = point["vector"].get("impacts", {"indices": [], "values": []})
        assert vector["indices"] == sorted(set(vector["indices"]))
        codes = {terms[i]: int(v) for i, v in zip(vector["indices"], vector["values"], strict=True)}
        found.append((point["payload"]["id"], codes))
    assert found == expected
    assert [point["id"] for point in points] == list(range(54))


def test_vespa_files(folder: Path, tmp_path: Path, expected: Expected) -> None:
    report = export_index(folder, "vespa", tmp_path / "out")
    terms = [line["term"] for line in terms_file(tmp_path / "out")]
    operations = lines(tmp_path / "out", "feed-*.jsonl")
    found = [
        (o["fields"]["id"], {terms[int(t)]: code for t, code in o["fields"]["impacts"].items()})
        for o in operations
    ]
    assert found == expected
    assert operations[0]["put"] == f"id:lsr:my_papers::{expected[0][0]}"
    # A vertical tab is no text to Vespa.
    assert operations[0]["fields"]["text"] == "text  0"
    assert report.notes == ("54 with characters that Vespa refuses: those are spaces now.",)
    schema = (tmp_path / "out" / "application" / "schemas" / "my_papers.sd").read_text()
    declared = set(re.findall(r"field (\w+) type", schema))
    assert {name for o in operations for name in o["fields"]} <= declared
    assert "field field_year type long" in schema
    assert json.loads(operations[1]["fields"]["metadata"]) == {"dotted.name": 1}


def test_anserini_files(folder: Path, tmp_path: Path, expected: Expected) -> None:
    export_index(
        folder, "anserini", tmp_path / "out", queries=[Query("q1", "", {"two words": 3.0, "π": 1.0})]
    )
    names = {line.get("name", line["term"]): line["term"] for line in terms_file(tmp_path / "out")}
    rows = lines(tmp_path / "out", "corpus/vectors-*.jsonl")
    found = [(row["id"], {names[name]: code for name, code in row["vector"].items()}) for row in rows]
    assert found == expected
    assert not any(character.isspace() for row in rows for name in row["vector"] for character in name)
    number, _, topic = (tmp_path / "out" / "queries.tsv").read_text().rstrip("\n").partition("\t")
    assert number == "q1"
    counts = {names[name]: topic.split().count(name) for name in set(topic.split())}
    assert counts == {"two words": 255, "π": 85}


def test_anserini_files_are_an_index_again(folder: Path, tmp_path: Path) -> None:
    import lsr

    export_index(folder, "anserini", tmp_path / "out")
    lsr.build_index([tmp_path / "out" / "corpus" / "vectors-00000.jsonl"], tmp_path / "again.index")
    with lsr.Searcher(folder) as old, lsr.Searcher(tmp_path / "again.index") as new:
        for vector in ({"plain": 1.5, "π": 0.5, "##s": 2.0}, {"%": 1.0}):
            (a,) = old.search_weights(old.vector_queries([vector]), 54)
            (b,) = new.search_weights(new.vector_queries([vector]), 54)
            assert old.document_ids(a.documents) == new.document_ids(b.documents)
            assert a.scores.tolist() == b.scores.tolist()


def test_ciff_read_back_by_protocol_buffers(folder: Path, tmp_path: Path, expected: Expected) -> None:
    pytest.importorskip("google.protobuf", reason="reads the file")
    export_index(folder, "ciff", tmp_path / "out")
    messages = _ciff_messages()
    content = memoryview(gzip.decompress((tmp_path / "out" / "index.ciff.gz").read_bytes()))
    place = 0

    def next_message(kind: str) -> Any:
        nonlocal place
        size = shift = 0
        while True:
            byte = content[place]
            place, size, shift = place + 1, size | (byte & 127) << shift, shift + 7
            if byte < 128:
                break
        place += size
        return messages[kind].FromString(bytes(content[place - size : place]))

    header = next_message("Header")
    assert (header.version, header.num_docs, header.total_docs) == (1, 54, 54)
    lists = [next_message("PostingsList") for _ in range(header.num_postings_lists)]
    records = [next_message("DocRecord") for _ in range(header.num_docs)]
    assert place == len(content)
    assert [entry.term.encode() for entry in lists] == sorted(entry.term.encode() for entry in lists)
    found: list[dict[str, int]] = [{} for _ in records]
    for entry in lists:
        number = 0
        for posting in entry.postings:
            number += posting.docid
            found[number][entry.term] = posting.tf
        assert entry.df == len(entry.postings)
        assert entry.cf == sum(posting.tf for posting in entry.postings)
    assert [record.docid for record in records] == list(range(54))
    assert list(zip([record.collection_docid for record in records], found, strict=True)) == expected
    assert [record.doclength for record in records] == [sum(codes.values()) for _, codes in expected]
    assert header.total_terms_in_collection == sum(sum(codes.values()) for _, codes in expected)
    assert header.average_doclength == pytest.approx(header.total_terms_in_collection / 54)


def _ciff_messages() -> dict[str, Any]:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds: dict[str, dict[int, tuple[str, str]]] = {
        "Header": {
            1: ("version", "INT32"),
            2: ("num_postings_lists", "INT32"),
            3: ("num_docs", "INT32"),
            4: ("total_postings_lists", "INT32"),
            5: ("total_docs", "INT32"),
            6: ("total_terms_in_collection", "INT64"),
            7: ("average_doclength", "DOUBLE"),
            8: ("description", "STRING"),
        },
        "Posting": {1: ("docid", "INT32"), 2: ("tf", "INT32")},
        "PostingsList": {
            1: ("term", "STRING"),
            2: ("df", "INT64"),
            3: ("cf", "INT64"),
            4: ("postings", "Posting"),
        },
        "DocRecord": {1: ("docid", "INT32"), 2: ("collection_docid", "STRING"), 3: ("doclength", "INT32")},
    }
    file = descriptor_pb2.FileDescriptorProto(name="ciff.proto", package="ciff", syntax="proto3")
    for name, fields in kinds.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in fields.items():
            entry = message.field.add(name=field, number=number, label=3 if kind in kinds else 1)
            if kind in kinds:
                entry.type, entry.type_name = 11, f".ciff.{kind}"
            else:
                entry.type = getattr(entry, f"TYPE_{kind}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"ciff.{name}")) for name in kinds
    }


def test_varints_of_every_length() -> None:
    values = np.array([0, 1, 127, 128, 16_383, 16_384, (1 << 31) - 1, (1 << 62) + 5], np.int64)
    encoded = pair_messages(4, values, values[::-1])
    place = 0
    for first, second in zip(values.tolist(), values[::-1].tolist(), strict=True):
        inner = b"\x08" + varint(first) + b"\x10" + varint(second)
        assert encoded[place : place + 2 + len(inner)] == b"\x22" + varint(len(inner)) + inner
        place += 2 + len(inner)
    assert place == len(encoded)
    assert [varint(300), varint(0)] == [b"\xac\x02", b"\x00"]


def test_features_survive_the_bits_that_lucene_keeps() -> None:
    codes = np.arange(1, 65_536, dtype=np.uint16)
    rounded = significant(codes)
    # Lucene keeps the upper 17 bits of a float32.
    kept = (rounded.astype(np.float32).view(np.int32) >> 15 << 15).view(np.float32)
    assert (kept == rounded).all()
    assert (rounded[:511] == codes[:511]).all()
    assert (np.abs(rounded - codes.astype(np.int64)) / codes).max() <= 2.0**-9
    assert (np.diff(rounded) >= 0).all()


def test_parts_are_cut_between_groups_of_lines(tmp_path: Path) -> None:
    with PartWriter(tmp_path, "part", "txt", part_bytes=20) as writer:
        for i in range(5):
            writer.write(f"a{i}", "b" * 6)
        writer.write("c" * 40)
    contents = [path.read_text() for path in sorted(tmp_path.iterdir())]
    assert "".join(contents) == "".join(f"a{i}\n{'b' * 6}\n" for i in range(5)) + "c" * 40 + "\n"
    assert all(len(content) <= 20 or content.startswith("c") for content in contents)
    assert all(content.startswith(("a", "c")) for content in contents)


def test_names_of_collections() -> None:
    assert collection_name(Path("/x/My Papers (2).index")) == "my_papers_2"
    assert collection_name(Path("/x/2024.index")) == "lsr_2024"
    assert collection_name(Path("/x/日本.index")) == "lsr"


def test_ids_that_an_engine_refuses(tmp_path: Path) -> None:
    import lsr
    from lsr.corpus import Document

    lsr.build_index([Document("é" * 300, "", vector={"a": 1.0})], tmp_path / "long.index")
    with pytest.raises(UserError, match="has 600 bytes, and OpenSearch takes 512"):
        export_index(tmp_path / "long.index", "opensearch", tmp_path / "out")
    lsr.build_index([Document("a\x01b", "", vector={"a": 1.0})], tmp_path / "odd.index")
    with pytest.raises(UserError, match="a character that Vespa refuses"):
        export_index(tmp_path / "odd.index", "vespa", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.index", "odd.index"]


def test_texts_that_milvus_cuts(tmp_path: Path) -> None:
    import lsr
    from lsr.corpus import Document

    lsr.build_index([Document("a", "ü" * 40_000, vector={"a": 1.0})], tmp_path / "an.index")
    report = export_index(tmp_path / "an.index", "milvus", tmp_path / "out")
    (row,) = json.loads((tmp_path / "out" / "rows-00000.json").read_text())["rows"]
    assert row["text"] == "ü" * 32_767
    assert "1 with a title, text or fields of more than the 65,535 bytes" in report.notes[0]


def test_impacts_of_16_bits(tmp_path: Path) -> None:
    import lsr
    from lsr.corpus import Document

    vector = {"a": 1.0, "b": 0.5, "c": 1e-5}
    lsr.build_index([Document("d", "", vector=vector)], tmp_path / "an.index", impact_bits=16)
    report = export_index(tmp_path / "an.index", "anserini", tmp_path / "a")
    (row,) = lines(tmp_path / "a" / "corpus", "vectors-*.jsonl")
    assert row["vector"] == {"a": 255, "b": 128, "c": 1}
    assert "rounded to 8" in report.notes[0]
    export_index(tmp_path / "an.index", "opensearch", tmp_path / "o")
    impacts = lines(tmp_path / "o", "bulk-*.ndjson")[1]["impacts"]
    assert impacts == {"a": 65_536, "b": 32_768, "c": 1}


def test_no_texts(folder: Path, tmp_path: Path) -> None:
    export_index(folder, "opensearch", tmp_path / "out", store_texts=False)
    assert all(set(row) <= {"index", "number", "impacts"} for row in lines(tmp_path / "out", "bulk-*.ndjson"))
