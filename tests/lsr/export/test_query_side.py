"""What an exported folder says of queries gives the weights that this program's own queries have."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import lsr
from lsr.corpus import Document
from lsr.encoders.base import IdfSource
from lsr.encoders.options import EncoderOptions
from lsr.export import export_index

TEXTS = [
    "solar panels turn sunlight into electricity",
    "wind turbines turn moving air into electricity",
    "flour, water and patience become bread",
    "the sun shines on panels and on bread",
]


@pytest.fixture(scope="module", params=["pieces", "words"])
def learned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("learned") / "an.index"
    documents = [Document(str(i), text) for i, text in enumerate(TEXTS)]
    options = EncoderOptions(settings={"terms": request.param})
    lsr.build_index(documents, folder, "default-tiny", options=options)
    lsr.delete_documents(["2"], folder)
    return folder


def weights_by_term(folder: Path) -> dict[str, float]:
    lines = [json.loads(line) for line in (folder / "query_terms.jsonl").read_text("utf-8").splitlines()]
    return {line["term"]: line["weight"] for line in lines}


@pytest.mark.parametrize("idf", ["training", "corpus"])
def test_inference_free_queries(learned: Path, tmp_path: Path, idf: IdfSource) -> None:
    export_index(learned, "vespa", tmp_path / "out", options=EncoderOptions(idf=idf))
    query = "photovoltaic panels on a sunny roof, and bread and panels"
    with lsr.Searcher(learned, options=EncoderOptions(idf=idf)) as searcher:
        wanted = searcher.encode_queries([query])
        terms = searcher.index.terms(wanted.indices.astype(np.int64))
    # With this package, and no index:
    encoder = lsr.load_query_encoder(tmp_path / "out" / "query_encoder")
    found = encoder.encode_queries([query])
    assert (found != wanted).nnz == 0
    table = weights_by_term(tmp_path / "out")
    times = wanted.data / [table[term] for term in terms]  # "and" and "panels" stand there twice
    assert sorted(times.tolist()) == pytest.approx([1] * (len(terms) - 2) + [9 * 2 / (8 + 2)] * 2)
    guide = (tmp_path / "out" / "README.md").read_text()
    assert ("corpus IDF as it was" in guide) == (idf == "corpus")
    if "forms of a word share" in guide:
        return
    # Without it, as the guide says:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tmp_path / "out" / "query_encoder" / "query_tokenizer.json"))
    counts = Counter(token for token in tokenizer.encode(query).tokens if table[token] > 0)
    by_hand = {token: table[token] * 9 * n / (8 + n) for token, n in counts.items()}
    assert "9 n / (8 + n)" in guide
    assert by_hand == pytest.approx(dict(zip(terms, wanted.data.tolist(), strict=True)), rel=1e-6)


def test_bm25_queries(tmp_path: Path) -> None:
    lsr.build_index([Document(str(i), text) for i, text in enumerate(TEXTS)], tmp_path / "an.index", "bm25")
    export_index(tmp_path / "an.index", "ciff", tmp_path / "out")
    query = "turning bread into bread"
    with lsr.Searcher(tmp_path / "an.index") as searcher:
        wanted = searcher.encode_queries([query])
        terms = searcher.index.terms(wanted.indices.astype(np.int64))
    encoder = lsr.load_query_encoder(tmp_path / "out" / "query_encoder")
    words = encoder.query_terms([query])[0]  # type: ignore[attr-defined]
    table = weights_by_term(tmp_path / "out")
    by_hand = {word: table[word] * words.count(word) for word in set(words)}
    assert by_hand == pytest.approx(dict(zip(terms, wanted.data.tolist(), strict=True)), rel=1e-6)


def test_vectors_bring_their_weights(folder: Path, tmp_path: Path) -> None:
    export_index(folder, "qdrant", tmp_path / "out")
    lines = (tmp_path / "out" / "query_terms.jsonl").read_text("utf-8").splitlines()
    assert all("weight" not in json.loads(line) for line in lines)
    assert "vectors from elsewhere" in (tmp_path / "out" / "README.md").read_text()
