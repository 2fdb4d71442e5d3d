"""Documents are added with the encoder that filled the index, and the index equals one built at once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lsr
from lsr.corpus import Document
from lsr.encoders.options import EncoderOptions

EXTRA = ["the moon over the river, over the moon", "dogs in the garden", "x y z 1 2 3 x"]


def documents(texts: list[str], first: int = 0) -> list[Document]:
    return [Document(f"d{i}", text, title="the sun" * (i % 2)) for i, text in enumerate(texts, first)]


@pytest.fixture(params=["inference-free", "splade", "windows", "bm25", "pieces"])
def encoder(request: Any, opensearch_folder: Path, mlm_folder: Path) -> Callable[[], Any]:
    """Name and options of an encoder."""
    options: dict[str, tuple[object, EncoderOptions]] = {
        "inference-free": (opensearch_folder, EncoderOptions(idf="corpus", max_terms=20)),
        "splade": (mlm_folder, EncoderOptions(max_length=12)),
        "windows": (
            mlm_folder,
            EncoderOptions(max_length=8, long_documents="windows", settings={"kind": "splade-doc"}),
        ),
        "bm25": ("bm25", EncoderOptions(settings={"k1": 0.9})),
        "pieces": ("bm25", EncoderOptions(settings={"tokens": "pieces", "tokenizer": str(mlm_folder)})),
    }
    return lambda: options[request.param]


def test_changes_equal_building_at_once(
    encoder: Callable[[], tuple[Any, EncoderOptions]], texts: list[str], tmp_path: Path
) -> None:
    name, options = encoder()
    folder = tmp_path / "an.index"
    lsr.build_index(documents(texts), folder, name, options=options, store_texts=False)
    maximum = lsr.Index(folder).manifest.grid.maximum
    report = lsr.add_documents(documents(EXTRA, 100), folder)
    assert (report.added, report.replaced, report.documents) == (3, 0, len(texts) + 3)
    report = lsr.update_documents(
        [*documents(["the cat ran"], 2), *documents(["stars , stars"], 200)], folder
    )
    assert (report.added, report.replaced) == (1, 1)
    assert lsr.delete_documents(["d0", "d101"], folder).deleted == 2
    left = [d for d in [*documents(texts), *documents(EXTRA, 100)] if d.id not in ("d0", "d101", "d2")]
    left += [*documents(["the cat ran"], 2), *documents(["stars , stars"], 200)]
    lsr.build_index(left, tmp_path / "whole.index", name, options=options)
    queries = ["the moon at night", "cat", "quick stars over the garden", ""]
    with lsr.Searcher(folder) as changed, lsr.Searcher(tmp_path / "whole.index") as whole:
        every = np.arange(changed.index.vocabulary_size)
        terms = changed.index.terms(every)
        ids = whole.index.term_ids(terms)
        assert (
            changed.index.document_frequencies(every).tolist()
            == whole.index.document_frequencies(ids).tolist()
        )
        assert (
            changed.index.text_document_frequencies(every).tolist()
            == whole.index.text_document_frequencies(ids).tolist()
        )
        for query in queries:
            found = changed.search(query, 20)
            expected = whole.search(query, 20)
            # The grid and the average length are those of the first documents; scores differ by that.
            if name == "bm25" or maximum != whole.index.manifest.grid.maximum:
                assert {hit.id for hit in found} == {hit.id for hit in expected}
            else:
                assert [(hit.id, hit.score) for hit in found] == [(hit.id, hit.score) for hit in expected]


def test_bm25_refreshed_is_what_building_gives(texts: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "an.index"
    lsr.build_index(documents(texts), folder, "bm25")
    lsr.add_documents(documents(EXTRA, 100), folder)
    lsr.delete_documents(["d1", "d100"], folder)
    lsr.compact_index(folder, refresh=True)
    left = [d for d in [*documents(texts), *documents(EXTRA, 100)] if d.id not in ("d1", "d100")]
    lsr.build_index(left, tmp_path / "whole.index", "bm25")
    with lsr.Searcher(folder) as changed, lsr.Searcher(tmp_path / "whole.index") as whole:
        assert changed.index.manifest.weighting == whole.index.manifest.weighting
        for query in ("the moon at night", "dogs in the garden", "quick stars over the blue river"):
            found, expected = changed.search(query, 20), whole.search(query, 20)
            assert [(hit.id, hit.score) for hit in found] == [(hit.id, hit.score) for hit in expected]


def test_a_moved_encoder_is_named_and_another_refused(
    mlm_folder: Path, opensearch_folder: Path, texts: list[str], tmp_path: Path
) -> None:
    there = Path(shutil.copytree(mlm_folder, tmp_path / "there"))
    folder = tmp_path / "an.index"
    lsr.build_index(documents(texts), folder, there, options=EncoderOptions(settings={"kind": "splade-doc"}))
    there.rename(tmp_path / "here")
    with pytest.raises(lsr.UserError, match="Name the place where it lies now with --encoder"):
        lsr.add_documents(documents(EXTRA, 100), folder)
    with pytest.raises(lsr.UserError, match="was filled by the encoder"):
        lsr.add_documents(documents(EXTRA, 100), folder, "bm25")
    assert lsr.add_documents(documents(EXTRA, 100), folder, tmp_path / "here").added == 3
    # The texts' own terms are kept: deleting needs no encoder.
    assert lsr.delete_documents(["d0", "d100"], folder).deleted == 2


def test_deleting_from_the_first_format_reads_the_texts_again(
    opensearch_folder: Path, texts: list[str], tmp_path: Path
) -> None:
    """Counted terms without those of each text, as version 1 had them."""
    folder = tmp_path / "an.index"
    lsr.build_index(documents(texts), folder, opensearch_folder)
    lsr.build_index(documents(texts)[1:], tmp_path / "rest.index", opensearch_folder)
    without_text_terms(folder)
    assert lsr.delete_documents(["d0"], folder).deleted == 1
    with lsr.Index(folder) as index, lsr.Index(tmp_path / "rest.index") as rest:
        every = np.arange(index.vocabulary_size)
        found = index.text_document_frequencies(every).tolist()
        assert found == rest.text_document_frequencies(every).tolist()
        assert sum(found) > 10


def without_text_terms(folder: Path) -> None:
    from lsr.index.manifest import body_checksum

    manifest = folder / "manifest.json"
    body = json.loads(manifest.read_text())
    body.pop("checksum")
    gone = [file["path"] for file in body["files"] if "/text_term" in file["path"]]
    assert len(gone) == 2
    body["files"] = [file for file in body["files"] if file["path"] not in gone]
    body["checksum"] = body_checksum(body)
    manifest.write_text(json.dumps(body))
    for path in gone:
        (folder / path).unlink()


def test_external_vectors(tmp_path: Path) -> None:
    def vectors(*rows: dict[str, float], first: int = 0) -> list[Document]:
        return [Document(f"v{i}", "", vector=row) for i, row in enumerate(rows, first)]

    folder = tmp_path / "an.index"
    lsr.build_index(vectors({"a": 2.0, "b": 1.0}, {"b": 2.0}), folder)
    report = lsr.add_documents(vectors({"b": 0.5, "new": 1.0}, {"a": 9.0}, first=2), folder)
    assert (report.added, report.saturated) == (2, 1)
    with lsr.Searcher(folder) as searcher:
        assert [hit.id for hit in searcher.search("new")] == ["v2"]
        assert [hit.id for hit in searcher.search("a")] == ["v0", "v3"]
    with pytest.raises(lsr.UserError, match="only text"):
        lsr.add_documents([Document("t", "some text")], folder)
