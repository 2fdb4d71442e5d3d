from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lsr.corpus import Document, Query
from lsr.errors import UserError
from lsr.eval.cache import Cache
from lsr.eval.checksums import checksums
from lsr.eval.datasets import load_dataset
from lsr.eval.systems.base import Workspace
from lsr.eval.systems.passages import PassageOptions, PassageSystem, passages_of
from lsr.eval.systems.sparse import SparseSystem

WriteBeir = Callable[..., Path]


def _texts(text: str, words: int, stride: int, **options: str) -> list[str]:
    document = Document("d#1", text, "T")
    cut = list(passages_of(document, PassageOptions(words, stride, **options)))  # type: ignore[arg-type]
    assert [passage.id for passage in cut] == [f"d#1#{i}" for i in range(len(cut))]
    assert {passage.title for passage in cut} == {"T"}
    return [passage.text for passage in cut]


def test_passages_overlap_and_end_with_the_text() -> None:
    assert _texts("a b c d e", 3, 2) == ["a b c", "c d e"]
    assert _texts("a b c d e f", 3, 2) == ["a b c", "c d e", "e f"]
    assert _texts("a b", 3, 2) == ["a b"]
    assert _texts("", 3, 2) == [""]
    assert _texts("a b c d e", 3, 2, aggregate="first") == ["a b c"]


@pytest.mark.parametrize(("words", "stride"), [(0, 1), (5, 6), (5, 0)])
def test_cuts_that_lose_words_are_refused(words: int, stride: int) -> None:
    with pytest.raises(UserError, match="passages"):
        PassageOptions(words, stride)


@pytest.mark.parametrize("aggregate", ["max", "first", "sum"])
def test_documents_are_ranked_by_their_passages(
    write_beir: WriteBeir, tmp_path: Path, aggregate: str
) -> None:
    random = np.random.default_rng(1)
    words = [f"w{chr(97 + i)}x" for i in range(20)]
    texts = [" ".join(random.choice(words, random.integers(1, 60))) for _ in range(40)]
    documents = [{"_id": f"d#{i}", "title": "", "text": text} for i, text in enumerate(texts)]
    queries = [Query(f"q{i}", " ".join(random.choice(words, 2))) for i in range(5)]
    folder = write_beir(documents=documents, qrels={"test": "q1\td#1\t1\n"})
    dataset = load_dataset(folder)
    workspace = Workspace(dataset, checksums(dataset), Cache(tmp_path / "cache"))
    options = PassageOptions(10, 5, aggregate)  # type: ignore[arg-type]
    engine = PassageSystem(SparseSystem("bm25"), options, "x", "x").open(workspace)
    assert engine.document_count == 40

    passages = [p for d in documents for p in passages_of(Document(d["_id"], d["text"]), options)]
    plain_folder = write_beir(
        "plain",
        documents=[{"_id": p.id, "title": "", "text": p.text} for p in passages],
        qrels={"test": "q1\td#1#0\t1\n"},
    )
    plain = load_dataset(plain_folder)
    inner = SparseSystem("bm25").open(Workspace(plain, checksums(plain), workspace.cache))
    everything = inner.search(inner.encode(queries), len(passages), 1)
    for k in (1, 3, 40):
        for (ids, scores), (names, values) in zip(
            engine.search(engine.encode(queries), k, 1), everything, strict=True
        ):
            best: dict[str, float] = {}
            for name, value in zip(names, values.tolist(), strict=True):
                owner = name.rpartition("#")[0]
                best[owner] = (
                    best.get(owner, 0.0) + value if aggregate == "sum" else max(best.get(owner, 0.0), value)
                )
            if aggregate == "sum" and k < 40:
                continue  # Sums are over the passages that were looked at.
            expected = sorted(best.values(), reverse=True)[:k]
            assert scores.tolist() == pytest.approx(expected, rel=1e-5)
            assert [best[name] for name in ids] == pytest.approx(expected, rel=1e-5)
    explained = engine.explain(queries[0], engine.search(engine.encode(queries[:1]), 1, 1)[0][0][0])
    assert explained
    engine.close()
    inner.close()
