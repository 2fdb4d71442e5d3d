"""An index built in pieces is the index that one process builds: documents, score bits, order, errors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lsr
from lsr.cluster import build_sharded_index
from lsr.cluster.encoding import EncodeStage
from lsr.cluster.executors import Stage
from lsr.cluster.planning import Run, plan_batches, plan_shards
from lsr.cluster.reading import Chunk
from lsr.cluster.work_folder import work_folder
from lsr.corpus import Document, ReadOptions, ReadReport
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.index import Index, IndexProblem, ShardedIndex, open_index
from lsr.retrieval import batches, build_index

# fmt: off
WORDS = [
    "solar", "panel", "wind", "turbine", "bread", "flour", "water", "sun", "light", "roof", "power", "city",
    "river", "stone", "bird", "tree",
]
# fmt: on


class Shuffled:
    """Does pieces in this process, in another order than they come, some of them twice."""

    witness: str | None = None

    def __init__(self, workers: int = 3, fail_at: int | None = None) -> None:
        self.workers = workers
        self.fail_at = fail_at
        self.done = 0

    def run(self, stage: Stage, pieces: Sequence[Any], *, models: bool = False) -> Iterator[tuple[int, Any]]:
        import pickle

        work = pickle.loads(pickle.dumps(stage)).open()
        order = np.random.default_rng(5).permutation(len(pieces)).tolist()
        for place, number in enumerate(order):
            if self.fail_at is not None and self.done >= self.fail_at:
                raise KeyboardInterrupt
            self.done += 1
            result = work(pickle.loads(pickle.dumps(pieces[number])))
            if place % 3 == 0:
                work(pieces[number])
            yield number, result


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches, parts and chunks of some documents each, so that small corpora have many."""
    for module in ("lsr.retrieval.batches", "lsr.cluster.planning", "lsr.retrieval.build"):
        monkeypatch.setattr(f"{module}.BATCH_DOCUMENTS", 7, raising=True)
        monkeypatch.setattr(f"{module}.BATCH_CHARACTERS", 900, raising=True)
    monkeypatch.setattr("lsr.cluster.shards.BATCH_DOCUMENTS", 5)
    monkeypatch.setattr("lsr.cluster.chunks.CHUNK_DOCUMENTS", 11)
    monkeypatch.setattr("lsr.cluster.chunks._ROWS_A_GROUP", 4)
    monkeypatch.setattr("lsr.cluster.gathering.divide_corpus", _divided)
    monkeypatch.setattr("lsr.cluster.repeats.DIGESTS_A_PIECE", 40)


def _divided(sources: Sequence[str]) -> Any:
    from lsr.corpus.parts import divide_corpus

    return divide_corpus(sources, 1_500)


def texts(count: int, seed: int) -> list[dict[str, Any]]:
    generator = np.random.default_rng(seed)
    made = []
    for i in range(count):
        length = int(generator.integers(0, 30)) * (8 if i % 19 == 0 else 1)
        text = " ".join(generator.choice(WORDS, length).tolist())
        # New words keep coming, in an order of their own in each document.
        new = generator.permutation([f"w{i // 3}", f"v{i}"]).tolist() if i % 2 else []
        made.append({"id": f"d{seed}-{i}", "text": " ".join([text, *new]), "n": i if i % 5 else f"x{i}"})
    return made


@pytest.fixture
def corpus(tmp_path: Path) -> list[str]:
    """Two files of lines, one compressed file and a folder of notes."""
    import gzip

    def lines(made: list[dict[str, Any]]) -> str:
        return "".join(json.dumps(document) + "\n" for document in made)

    (tmp_path / "a.jsonl").write_text(lines(texts(90, 1)))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines(texts(30, 2)).encode()))
    (tmp_path / "c.jsonl").write_text(lines(texts(25, 3)))
    (tmp_path / "notes").mkdir()
    for i in range(9):
        (tmp_path / "notes" / f"{i}.md").write_text(f"# Note {i}\n\nwind and {WORDS[i]}\n")
    return [str(tmp_path / name) for name in ("a.jsonl", "b.jsonl.gz", "notes", "c.jsonl")]


QUERIES = [
    "solar panel",
    "wind turbine on a roof",
    "w3 v11 water",
    "bread",
    "v7 v8 w20 power city",
    "sun sun sun",
]


def assert_same(one: Path, many: Path, queries: Sequence[str] = QUERIES, **options: Any) -> None:
    with lsr.Searcher(one, **options) as a, lsr.Searcher(many, **options) as b:
        assert isinstance(b.index, ShardedIndex)
        assert a.index.vocabulary() == b.index.vocabulary()
        assert a.index.manifest.grid == b.index.manifest.grid
        assert a.index.manifest.weighting == b.index.manifest.weighting
        everything = np.arange(a.index.number_bound)
        assert a.index.documents(everything) == b.index.documents(everything)
        assert a.index.fields == b.index.fields
        x, y = a.encode_queries(queries), b.encode_queries(queries)
        assert (x != y).nnz == 0
        for expected, found in zip(a.search_weights(x, 50), b.search_weights(y, 50), strict=True):
            assert found.documents.tolist() == expected.documents.tolist()
            assert found.scores.tobytes() == expected.scores.tobytes()
        text_terms = np.arange(a.index.vocabulary_size)
        counts = [i.text_document_frequencies(text_terms).tolist() for i in (a.index, b.index)]
        assert counts[0] == counts[1]


@pytest.mark.parametrize("shards", [1, 4])
def test_bm25(tmp_path: Path, corpus: list[str], shards: int) -> None:
    one = build_index(corpus, tmp_path / "one.index", "bm25")
    progress: list[int] = []
    many = build_sharded_index(
        corpus, tmp_path / "many.index", "bm25", executor=Shuffled(), shards=shards, progress=progress.append
    )
    assert_same(tmp_path / "one.index", tmp_path / "many.index")
    assert many.shards == shards
    for name in (
        "documents",
        "empty_documents",
        "postings",
        "vocabulary_size",
        "cut_documents",
        "largest_error",
    ):
        assert getattr(many, name) == getattr(one, name), name
    assert many.relative_error == pytest.approx(one.relative_error)
    assert sum(progress) == many.documents == 154
    # Nothing else is left, and each shard is an index of its own.
    assert {p.name for p in tmp_path.iterdir()} == {
        "one.index",
        "many.index",
        *(Path(c).name for c in corpus),
    }
    with open_index(tmp_path / "many.index") as index:
        assert isinstance(index, ShardedIndex)
        assert index.verify() > 0
        with Index(tmp_path / "many.index" / index.shards[0]) as shard:
            assert shard.document_count == pytest.approx(154 / shards, abs=1)


def test_an_inference_free_encoder_and_a_corpus_idf(tmp_path: Path, corpus: list[str]) -> None:
    options = EncoderOptions(threads=1)
    build_index(corpus[3:], tmp_path / "one.index", "default-tiny", options=options)
    build_sharded_index(
        corpus[3:], tmp_path / "many.index", "default-tiny", executor=Shuffled(), shards=3, options=options
    )
    assert_same(tmp_path / "one.index", tmp_path / "many.index")
    options = EncoderOptions(idf="corpus")
    assert_same(tmp_path / "one.index", tmp_path / "many.index", options=options)


def test_words_that_many_workers_meet_in_other_orders(tmp_path: Path) -> None:
    """Among words of equal weight in a long text the same ones stay, whatever a worker has met before."""
    generator = np.random.default_rng(9)
    names = [f"zq{i}x" for i in range(260)]
    made = [
        {"id": str(i), "text": " ".join(generator.permutation(names)[: 200 if i % 4 == 0 else 5])}
        for i in range(60)
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(document) + "\n" for document in made))
    options = EncoderOptions(threads=1, max_terms=40)
    one = build_index([tmp_path / "a.jsonl"], tmp_path / "one.index", "default-tiny", options=options)
    many = build_sharded_index(
        [tmp_path / "a.jsonl"],
        tmp_path / "many.index",
        "default-tiny",
        executor=Shuffled(),
        shards=3,
        options=options,
    )
    assert (one.postings, one.vocabulary_size) == (many.postings, many.vocabulary_size)
    with Index(tmp_path / "one.index") as index:
        assert sum(term.startswith("zq") and term.endswith("*") for term in index.vocabulary()) > 200
    assert_same(
        tmp_path / "one.index", tmp_path / "many.index", [*names[:40], "zq3x zq77x zq200x", "no such"]
    )


def test_vectors(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    lines = []
    for i in range(60):
        terms = generator.permutation([*WORDS[:6], f"t{i // 4}"]).tolist()
        vector = {term: round(float(generator.exponential()), 3) for term in terms}
        lines.append(json.dumps({"id": str(i), "vector": vector}))
    (tmp_path / "v.jsonl").write_text("\n".join(lines))
    build_index([tmp_path / "v.jsonl"], tmp_path / "one.index")
    build_sharded_index([tmp_path / "v.jsonl"], tmp_path / "many.index", executor=Shuffled(), shards=3)
    assert_same(tmp_path / "one.index", tmp_path / "many.index", ["solar t3 panel", "bread bread t9"])


def test_repeated_documents(tmp_path: Path) -> None:
    made = texts(60, 6)
    made[20] = {**made[3]}  # id and text
    made[41] = {"id": made[3]["id"], "text": "another text under a known id"}
    made[50] = {"id": "new", "text": f"  {made[7]['text']} "}
    made[55] = {"id": "newer", "text": "another text under a known id"}
    made[57] = {"id": "bad"}
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(d) + "\n" for d in made))
    corpus = [tmp_path / "a.jsonl"]
    for number, (skip, deduplicate) in enumerate([(True, None), (True, "text")]):
        reports = [ReadReport(), ReadReport()]
        options = ReadOptions(skip_bad=skip)
        one, many = tmp_path / f"one-{number}", tmp_path / f"many-{number}"
        a = build_index(
            corpus, one, "bm25", read_options=options, read_report=reports[0], deduplicate=deduplicate
        )  # type: ignore[arg-type]
        b = build_sharded_index(
            corpus,
            many,
            "bm25",
            executor=Shuffled(),
            shards=3,
            read_options=options,
            read_report=reports[1],
            deduplicate=deduplicate,  # type: ignore[arg-type]
        )
        assert_same(one, many)
        assert (a.documents, a.same_text, a.bad_documents) == (b.documents, b.same_text, b.bad_documents)
        assert sorted(reports[0].bad_examples) == sorted(reports[1].bad_examples)
    assert a.same_text > 0
    made.pop(57)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(d) + "\n" for d in made))
    with pytest.raises(IndexProblem) as expected:
        build_index(corpus, tmp_path / "no", "bm25")
    with pytest.raises(IndexProblem) as found:
        build_sharded_index(corpus, tmp_path / "no", "bm25", executor=Shuffled())
    assert str(found.value) == str(expected.value)
    assert "a.jsonl:21: " in str(found.value)


@pytest.mark.parametrize("fail_at", [0, 1, 5, 12, 20, 30, 34])
def test_an_interrupted_job_goes_on(
    tmp_path: Path, corpus: list[str], fail_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    encode = EncodeStage.encode

    def counted(stage: EncodeStage, run: Run, encoder: Any) -> Any:
        if not (Path(stage.documents.work) / f"run-{run.number:06}.json").exists():
            encoded.append(run.number)
        return encode(stage, run, encoder)

    monkeypatch.setattr(EncodeStage, "encode", counted)
    target = tmp_path / "many.index"
    with pytest.raises(KeyboardInterrupt):
        build_sharded_index(corpus, target, "bm25", executor=Shuffled(fail_at=fail_at), shards=4, resume=True)
    assert not target.exists()
    assert len(encoded) == len(list(work_folder(target).glob("run-*.npz")))
    with pytest.raises(UserError, match=r"the interrupted job that would build .* was another \(encoder\)"):
        build_sharded_index(corpus, target, "default-tiny", executor=Shuffled(), shards=4, resume=True)
    # Another number of workers, and what is done is taken all the same.
    before = len(encoded)
    report = build_sharded_index(corpus, target, "bm25", executor=Shuffled(workers=9), shards=4, resume=True)
    assert (report.resumed_documents > 0) == (before > 0)
    assert sorted(encoded) == list(range(max(encoded) + 1))
    build_index(corpus, tmp_path / "one.index", "bm25")
    assert_same(tmp_path / "one.index", target)
    assert not work_folder(target).exists()


def test_without_resume_nothing_is_left(tmp_path: Path, corpus: list[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        build_sharded_index(corpus, tmp_path / "many.index", "bm25", executor=Shuffled(fail_at=20))
    assert not any("many" in p.name for p in tmp_path.iterdir())


def test_overwriting(tmp_path: Path, corpus: list[str]) -> None:
    target = tmp_path / "many.index"
    build_sharded_index(corpus[:1], target, "bm25", executor=Shuffled(), shards=2)
    with pytest.raises(IndexProblem, match="exists already; choose another folder with -o, or replace it"):
        build_sharded_index(corpus, target, "bm25", executor=Shuffled())
    with open_index(target) as old:
        build_sharded_index(corpus, target, "bm25", executor=Shuffled(), shards=3, overwrite=True)
        assert old.document_count == 90
        newer = old.refresh()
        assert newer.document_count == 154
        newer.close()
    assert len([p for p in target.iterdir() if p.is_dir()]) == 3
    build_index(corpus[:1], tmp_path / "one.index", "bm25")
    with pytest.raises(IndexProblem, match="exists and is not a sharded index"):
        build_sharded_index(corpus, tmp_path / "one.index", "bm25", executor=Shuffled(), overwrite=True)


def test_mistakes(tmp_path: Path, corpus: list[str]) -> None:
    with pytest.raises(UserError, match="standard input"):
        build_sharded_index(["-"], tmp_path / "x", "bm25", executor=Shuffled(), resume=True)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(UserError, match="holds no documents"):
        build_sharded_index([tmp_path / "empty.jsonl"], tmp_path / "x", "bm25", executor=Shuffled())
    (tmp_path / "mixed.jsonl").write_text('{"id": "a", "vector": {"x": 1}}\n{"id": "b", "text": "y"}\n')
    with pytest.raises(UserError, match=r"mixed\.jsonl:2: this document has no vector"):
        build_sharded_index([tmp_path / "mixed.jsonl"], tmp_path / "x", executor=Shuffled())
    (tmp_path / "bad.jsonl").write_text('{"id": "a", "vector": {"x": 1}}\n{"id": "b", "vector": {"x": -1}}\n')
    with pytest.raises(UserError, match=r"bad\.jsonl:2: "):
        build_sharded_index([tmp_path / "bad.jsonl"], tmp_path / "x", executor=Shuffled())
    assert not any(p.name.startswith((".x", "x")) for p in tmp_path.iterdir())


def test_batches_are_those_of_one_process(tmp_path: Path) -> None:
    generator = np.random.default_rng(7)
    lengths = generator.integers(0, 400, 100)
    documents = [Document(str(i), "x" * int(n)) for i, n in enumerate(lengths)]
    starts = np.cumsum([0, *(len(batch) for batch in batches.in_batches(documents))])
    chunks = []
    for number, (low, high) in enumerate([(0, 13), (13, 13), (13, 14), (14, 60), (60, 100)]):
        np.save(tmp_path / f"c{number}.lengths.npy", lengths[low:high].astype(np.uint32))
        chunks.append(Chunk(f"c{number}", high - low))
    assert plan_batches(tmp_path, chunks, {}).tolist() == starts.tolist()


def test_shards_are_equal_and_never_empty() -> None:
    assert plan_shards(10, 3) == [(0, 3), (3, 6), (6, 10)]
    assert plan_shards(2, 5) == [(0, 1), (1, 2)]
