from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lsr.corpus import Document
from lsr.errors import UserError
from lsr.training.collation import BatchDataset, collate
from lsr.training.config import load_config, parse_config, set_value
from lsr.training.data import count_steps, documents_of, load_sources
from lsr.training.pairs import Pair, find_pair_files, read_pairs
from lsr.training.sampling import SamplingPlan
from lsr.training.self_supervised import make_pairs
from lsr.training.settings import DataSettings, SourceSettings, TrainingSettings


def lines(*records: object) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def test_pairs_from_plain_and_compressed_files(tmp_path: Path) -> None:
    import zstandard

    data = lines(
        {"query": "q", "positive": "p"},
        {"query": "q2", "positive": "p2", "negatives": ["n"], "scores": [2, 1.5], "id": 7},
        {"query": "q3", "positive": "p3", "negatives": ["n"], "teacher": [2, 1]},
    )
    (tmp_path / "a.jsonl").write_bytes(data + b"\n")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(data))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(data))
    files = find_pair_files(tmp_path)
    assert len(files) == 3
    assert find_pair_files(tmp_path / "*.gz") == [tmp_path / "b.jsonl.gz"]
    for file in files:
        assert list(read_pairs(file)) == [
            Pair("q", "p"),
            Pair("q2", "p2", ("n",), (2.0, 1.5)),
            Pair("q3", "p3", ("n",), (2.0, 1.0)),
        ]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"query": "q"}, "has no 'positive'"),
        ({"query": "", "positive": "p"}, "'query' is empty"),
        ({"query": "q", "positive": 3}, "not a string"),
        ({"query": "q", "positive": "p", "negatives": "n"}, "not a list of texts"),
        ({"query": "q", "positive": "p", "scores": [1, 2]}, "not a list of 1 numbers"),
        ({"query": "q", "positive": "p", "scores": [None]}, "no finite number"),
        (["q", "p"], "array"),
    ],
)
def test_mistakes_are_told_with_file_and_line(tmp_path: Path, record: object, message: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(lines({"query": "q", "positive": "p"}, record))
    with pytest.raises(UserError, match=message) as told:
        list(read_pairs(path))
    assert str(told.value).startswith(f"{path}:2: ")


def test_missing_and_empty_sources(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no training pairs"):
        find_pair_files(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(UserError, match="holds no training pairs"):
        load_sources(DataSettings(sources=(SourceSettings(path=str(tmp_path)),)), 0)
    with pytest.raises(UserError, match="one of the two"):
        SourceSettings()


def test_every_pair_comes_once_a_pass_and_the_order_is_the_seeds() -> None:
    plan = SamplingPlan([10, 30], [1, 1], 8, 10, seed=3)
    drawn = Counter(pair for number in range(10) for pair in plan.batch(number))
    assert set(drawn.values()) == {2}
    assert len(drawn) == 40
    again, other = (
        SamplingPlan([10, 30], [1, 1], 8, 10, seed=3),
        SamplingPlan([10, 30], [1, 1], 8, 10, seed=4),
    )
    assert [again.batch(n) for n in range(10)] == [plan.batch(n) for n in range(10)]
    assert [other.batch(n) for n in range(10)] != [plan.batch(n) for n in range(10)]
    # A longer run starts as the shorter one does.
    longer = SamplingPlan([10, 30], [1, 1], 8, 20, seed=3)
    assert [longer.batch(n) for n in range(10)] == [plan.batch(n) for n in range(10)]


def test_weights_and_batches_of_one_source() -> None:
    plan = SamplingPlan([100, 100], [3, 1], 10, 400, seed=0)
    first = sum(source == 0 for number in range(400) for source, _ in plan.batch(number))
    assert first / 4000 == pytest.approx(0.75, abs=0.03)
    plan = SamplingPlan([100, 300], [1, 1], 10, 400, one_source=True, seed=0)
    batches = [{source for source, _ in plan.batch(number)} for number in range(400)]
    assert all(len(sources) == 1 for sources in batches)
    assert sum(sources == {1} for sources in batches) / 400 == pytest.approx(0.75, abs=0.07)


def test_a_batch_shares_columns_between_equal_documents() -> None:
    batch = collate([Pair("a", "x", ("y", "x", "z"), (3, 2, 9, 1)), Pair("b", "z"), Pair("c", "x")])
    assert batch.documents == ["x", "y", "z"]
    assert batch.positives.tolist() == [0, 2, 0]
    assert batch.candidates.tolist() == [[0, 1, 2], [2, -1, -1], [0, -1, -1]]
    assert batch.teacher is not None
    assert batch.teacher[0].tolist() == [3, 2, 1]
    assert bool(batch.teacher[1:].isnan().all())


def test_hard_negatives_are_drawn_with_their_scores() -> None:
    pair = Pair("q", "p", tuple(f"n{k}" for k in range(20)), (99.0, *map(float, range(20))))
    dataset = BatchDataset([[pair]], SamplingPlan([1], [1], 1, 5), negatives=3, max_characters=2, seed=0)
    drawn = set()
    for number in range(5):
        batch = dataset[number]
        assert batch.teacher is not None
        assert batch.teacher[0, 0] == 99
        assert all(len(text) <= 2 for text in batch.documents)
        drawn.add(tuple(batch.teacher[0].tolist()))
        assert dataset[number].documents == batch.documents
    assert len(drawn) > 1


def test_pairs_of_raw_text(tmp_path: Path) -> None:
    text = " ".join(f"This is the sentence number {word} of all." for word in ("one", "two", "three", "four"))
    documents = [Document("1", text, "A title"), Document("2", "Short."), Document("3", "", "Only a title")]
    made = list(make_pairs(documents, "inverse-cloze", 0, pairs_per_document=2, keep_sentence=0.0))
    assert len(made) == 2
    for pair in made:
        assert pair.query in text
        assert pair.query not in pair.positive
        assert pair.positive.startswith("A title This is")
    assert made == list(make_pairs(documents, "inverse-cloze", 0, pairs_per_document=2, keep_sentence=0.0))
    kept = next(make_pairs(documents, "inverse-cloze", 0, keep_sentence=1.0))
    assert kept.query in kept.positive
    assert list(make_pairs(documents, "title-to-body")) == [Pair("A title", text)]
    corpus = tmp_path / "c.jsonl"
    corpus.write_bytes(lines({"_id": "1", "title": "t", "text": "b"}, {"_id": "2", "text": "b"}))
    settings = DataSettings(sources=(SourceSettings(corpus=str(corpus), pairs="title-to-body"),))
    (source,) = load_sources(settings, 0)
    assert source.pairs == [Pair("t", "b")]
    assert list(documents_of([source])) == ["b"]


def test_epochs_become_steps() -> None:
    assert count_steps(TrainingSettings(epochs=2, batch_size=10, accumulation=2), 95) == 10
    assert count_steps(TrainingSettings(steps=7), 95) == 7


def test_a_preset_is_changed_by_the_file_and_by_set(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "preset: csr\nmodel: {backbone: mine}\nlosses: {ranking: {kl: 1}}\n"
        "data: {sources: [{path: a}]}\ntraining: {steps: 5}\n"
    )
    config, values = load_config(path, ["training.bf16=true", "training.learning_rates={query.raw: 1e-2}"])
    assert config.model["backbone"] == "mine"
    assert config.model["document"]["head"] == "dense"
    assert config.losses["ranking"] == {"kl": 1}
    assert config.training.steps == 5
    assert config.training.epochs is None
    assert config.training.bf16
    assert config.training.learning_rates == {"query.raw": 0.01}
    assert config.training.learning_rate == 4e-4
    assert parse_config(values) == config
    assert load_config("splade", ["data.sources=[{path: a}]", "training.epochs=2"])[0].training.steps is None


def test_set_reaches_into_lists_and_weights() -> None:
    values: dict[str, object] = {"losses": {"ranking": {"kl": 0.5}}, "teachers": [{"kind": "bm25"}]}
    set_value(values, "losses.ranking.kl.over=batch")
    set_value(values, "teachers.0.weight=2")
    assert values == {
        "losses": {"ranking": {"kl": {"weight": 0.5, "over": "batch"}}},
        "teachers": [{"kind": "bm25", "weight": 2}],
    }
    for wrong in ("steps", "=3", "teachers.4.kind=x"):
        with pytest.raises(UserError, match="--set"):
            set_value(values, wrong)


def test_mistakes_in_a_configuration(tmp_path: Path) -> None:
    good = {"model": {"backbone": "x"}, "losses": {"ranking": "kl"}, "training": {"steps": 1}}
    parse_config(good)
    for change, message in (
        ({"modle": {}}, "no section 'modle'"),
        ({"model": {}}, "names no model"),
        ({"losses": {}}, "no ranking loss"),
        ({"training": {"steps": 1, "batchsize": 3}}, "'batchsize' is not a setting"),
        ({"training": {}}, "set steps or epochs"),
        ({"training": {"steps": 1, "dev": "x"}}, "checkpoint_every"),
        ({"teachers": [{"kind": "dense"}]}, "needs a model"),
    ):
        with pytest.raises(UserError, match=message):
            parse_config({**good, **change})
    (tmp_path / "bad.yaml").write_text("a: [1\nb: 2")
    with pytest.raises(UserError, match=r"bad\.yaml:2"):
        load_config(tmp_path / "bad.yaml")


def test_bm25_teacher_scores_as_an_index_does(tmp_path: Path) -> None:
    import lsr
    from lsr.training.teachers.sparse import Bm25Teacher

    texts = [
        "solar panels turn light into power",
        "wind turbines turn air into power",
        "bread is flour and water",
    ]
    scores = Bm25Teacher(texts).score(["solar power", "flour unheard"], texts)
    lsr.build_index([Document(str(n), text) for n, text in enumerate(texts)], tmp_path / "i", "bm25")
    with lsr.Searcher(tmp_path / "i") as searcher:
        for row, query in enumerate(["solar power", "flour unheard"]):
            for hit in searcher.search(query):
                np.testing.assert_allclose(scores[row, int(hit.id)], hit.score, rtol=0.02)
