"""RM3 against its definition, written out plainly."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lsr.corpus import Query
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.eval.cache import Cache
from lsr.eval.checksums import checksums
from lsr.eval.datasets import load_dataset
from lsr.eval.systems.base import Workspace
from lsr.eval.systems.feedback import Rm3Options, Rm3System, interpolate, relevance_model

WriteBeir = Callable[..., Path]


def test_relevance_model_by_hand() -> None:
    documents = [{"a": 3, "b": 1, "z": 1}, {"b": 2}, {}]
    # Of two terms each: a 3/4, b 1/4 at score 2; b 1 at score 1.
    weights = relevance_model(documents, [2.0, 1.0, 5.0], terms=2)
    assert weights == pytest.approx({"a": 1.5 / 3, "b": 1.5 / 3})
    assert relevance_model([], [], 10) == {}
    mixed = interpolate({"q": 1, "a": 3}, weights, 0.6)
    assert mixed == pytest.approx({"q": 0.15, "a": 0.45 + 0.2, "b": 0.2})
    assert interpolate({"q": 2}, {}, 0.5) == {"q": 2}
    assert interpolate({}, weights, 0.5) == {}


def test_expanded_search_equals_the_plain_one(write_beir: WriteBeir, tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    words = [f"w{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(150)]
    chance = 1 / np.arange(1, 151)
    texts = [" ".join(random.choice(words, 30, p=chance / chance.sum())) for _ in range(120)]
    documents = [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(texts)]
    folder = write_beir(
        documents=documents,
        queries=[{"_id": "q", "text": f"{words[40]} {words[60]}"}],
        qrels={"test": "q\td1\t1\n"},
    )
    dataset = load_dataset(folder)
    workspace = Workspace(dataset, checksums(dataset), Cache(tmp_path / "cache"))
    plain = EncoderOptions(settings={"stemmer": "none", "stop_words": "none"})
    engine = Rm3System("x", plain, Rm3Options(documents=3, terms=4, original=0.3)).open(workspace)
    query = Query("q", f"{words[40]} {words[60]}")

    counts = [Counter(text.split()) for text in texts]
    frequency = Counter(word for count in counts for word in count)
    idf = {word: math.log1p((120 - f + 0.5) / (f + 0.5)) for word, f in frequency.items()}

    def score(weights: dict[str, float], count: Counter[str]) -> float:
        # All documents are of the average length.
        return sum(
            w * idf.get(t, 0.0) * count[t] / (count[t] + 1.2) for t, w in weights.items() if t in count
        )

    asked = {words[40]: 1.0, words[60]: 1.0}
    ranked = sorted(range(120), key=lambda i: -score(asked, counts[i]))[:3]
    allowed = [{t: n for t, n in counts[i].items() if frequency[t] <= 12} for i in ranked]
    expansion = relevance_model(allowed, [score(asked, counts[i]) for i in ranked], 4)
    weights = interpolate(asked, expansion, 0.3)
    assert len(weights) > 2
    expected = [score(weights, count) for count in counts]
    ((ids, scores),) = engine.search([query], 20, 1)
    # Impacts are stored in 8 bits.
    for name, found in zip(ids, scores.tolist(), strict=True):
        assert found == pytest.approx(expected[int(name[1:])], rel=0.02)
    assert ids[0] == f"d{int(np.argmax(expected))}"
    explained = engine.explain(query, ids[0])
    assert explained is not None
    assert {part.term for part in explained} == {t for t in weights if t in counts[int(ids[0][1:])]}
    assert engine.touched([query], 10).postings > sum(frequency[t] for t in weights)
    engine.close()
    with pytest.raises(UserError, match="leave out --index"):
        Rm3System("x").open(Workspace(dataset, checksums(dataset), workspace.cache, index=tmp_path / "i"))
