"""The models inside the package: their size, their vectors, and what they find that words do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lsr
from lsr.corpus import Document
from lsr.encoders import EncoderOptions, load_encoder
from lsr.encoders.built_in import models_folder

TEXTS = [
    "The doctor told her that the tumour was not malignant.",
    "How to make a sourdough bread at home, with flour, water and salt.",
    "def read(path):\n    with open(path) as file:\n        return json.load(file)",
    "The central bank raised interest rates by half a point to fight rising prices.",
    "Swelling of the ankle after a fall should be cooled and rested.",
    "The aircraft lost altitude because ice had formed on its wings.",
]
NAMES = ("default", "default-tiny")


@pytest.mark.parametrize("name", NAMES)
def test_at_most_25_megabytes_with_a_card(name: str) -> None:
    folder = models_folder() / name
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 25_000_000
    card = (folder / "README.md").read_text(encoding="utf-8")
    for word in ("licence", "nDCG@10", "train_default.py", "Limits"):
        assert word in card


@pytest.mark.parametrize(("name", "least"), [("default", 0.97), ("default-tiny", 0.97)])
def test_integers_stay_near_floats(name: str, least: float) -> None:
    plain = {"max_terms": None, "lexical_weight": 0.0}
    exact, fast = (
        load_encoder(name, EncoderOptions(settings={**plain, "precision": precision}, device="cpu"))
        .encode_documents(TEXTS)
        .toarray()
        for precision in ("float32", "int8")
    )
    if name == "default-tiny":  # Integers look for expansions among the model's rows alone.
        exact = np.where(fast > 0, exact, 0)
    cosine = (exact * fast).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(fast, axis=1)
    assert cosine.min() > least


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("default", [("cancer", "0"), ("physician", "0"), ("baking", "1"), ("plane crash", "5")]),
        ("default-tiny", [("cancer", "0"), ("inflation", "3"), ("plane crash", "5")]),
    ],
)
def test_finds_what_shares_no_word_with_the_query(
    name: str, asked: list[tuple[str, str]], tmp_path: Path
) -> None:
    lsr.build_index([Document(str(n), "", text) for n, text in enumerate(TEXTS)], tmp_path / "i", name)
    with lsr.Searcher(tmp_path / "i") as searcher:
        for query, best in asked:
            assert not set(query.split()) & set(TEXTS[int(best)].lower().split())
            assert searcher.search(query, 1)[0].id == best, query


def test_saved_for_sentence_transformers_it_gives_the_same_vectors(tmp_path: Path) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    # What sentence-transformers' form cannot hold is left out.
    plain = {
        "precision": "float32", "terms": "pieces", "pooled_tokens": "all", "lexical_weight": 0.0,
        "max_terms": None, "special_tokens": "keep",
    }  # fmt: skip
    encoder = load_encoder("default", EncoderOptions(settings=plain, device="cpu"))
    encoder.save(tmp_path / "saved")
    model = sentence_transformers.SparseEncoder(str(tmp_path / "saved"), device="cpu")
    expected = model.encode_document(TEXTS, convert_to_sparse_tensor=False).cpu().numpy()
    found = encoder.encode_documents(TEXTS).toarray()
    # Nor is there a limit on what expansion may reach.
    assert (found > 0).sum() > 0.5 * (expected > 0).sum()
    np.testing.assert_allclose(found, np.where(found > 0, expected, 0), atol=1e-5)
