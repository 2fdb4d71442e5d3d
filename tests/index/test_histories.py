"""After any history of changes an index equals one built at once from the documents that are left.

The model is a plain dictionary from id to weights, in the order of the last change. Compared are the
documents found, by id, the bits of their scores, their order, and the statistics of a corpus IDF.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from brute_force import assert_same_hits, hits_by_hand, on_grid
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lsr.index import DocumentRecord, Hits, Index, IndexEditor, IndexWriter
from lsr.index import merge_policy as policy
from lsr.index.planner import Algorithm

TERMS = 12
GRID = 20.0  # weights go up to 25, so that some saturate
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)


class History:
    """An index, and beside it what it should hold."""

    def __init__(self, folder: Path, seed: int, bm25: bool) -> None:
        self.folder = folder
        self.generator = np.random.default_rng(seed)
        self.bm25 = bm25
        self.width = TERMS
        self.model: dict[str, tuple[dict[int, float], set[int]]] = {}
        self.made = 0
        self.average = 0.0
        with IndexWriter(folder, encoder={"name": "test"}, **self.options()) as writer:  # type: ignore[arg-type]
            ids = self.new_ids(int(self.generator.integers(1, 8)))
            writer.add(*self.batch(ids))
            writer.commit(self.vocabulary())
        self.average = self.live_average()
        self.index = Index(folder)

    def options(self) -> dict[str, object]:
        if self.bm25:
            return {"bm25": (1.2, 0.75), "impact_bits": 8}
        return {"impact_maximum": GRID, "impact_bits": 16 if self.generator.random() < 0.3 else 8}

    def vocabulary(self) -> list[str]:
        return [f"t{i}" for i in range(self.width)]

    def new_ids(self, count: int) -> list[str]:
        self.made += count
        return [f"d{i}" for i in range(self.made - count, self.made)]

    def batch(self, ids: list[str]) -> tuple[sparse.csr_array, list[DocumentRecord], sparse.csr_array | None]:
        """Make documents, put them at the end of the model, and return them as an index takes them."""
        rows = []
        for id_ in ids:
            terms = self.generator.choice(self.width, int(self.generator.integers(0, 6)), replace=False)
            if self.bm25:
                values = self.generator.integers(1, 5, len(terms)).astype(float)
            else:
                values = self.generator.choice([1.0, 0.5, 3.0, 25.0], len(terms))
            weights = dict(zip(terms.tolist(), values.tolist(), strict=True))
            own = set(self.generator.choice(self.width, 3).tolist())
            self.model.pop(id_, None)
            self.model[id_] = (weights, own)
            rows.append((weights, own))
        matrix, own_terms = matrices(rows, self.width)
        return matrix, [record(id_) for id_ in ids], None if self.bm25 else own_terms

    def live_average(self) -> float:
        lengths = [sum(weights.values()) for weights, _ in self.model.values()]
        return float(np.mean(lengths)) if lengths else 0.0

    def step(self, merge: bool) -> None:
        """Change the index in one commit, in one to three ways."""
        with IndexEditor(self.folder, durable=False, merge=merge) as editor:
            for _ in range(int(self.generator.integers(1, 4))):
                choice = self.generator.random()
                known = list(self.model)
                some = self.generator.permutation(known)[: int(self.generator.integers(0, 6))].tolist()
                if choice < 0.4:
                    if self.bm25 and self.generator.random() < 0.3:
                        self.width += 1
                    editor.add(*self.batch(self.new_ids(int(self.generator.integers(1, 6)))))
                elif choice < 0.65:
                    ids = some + self.new_ids(int(self.generator.integers(0, 2)))
                    assert editor.update(*self.batch(ids)) == len(some)
                elif choice < 0.9:
                    assert editor.delete([*some, "never"], skip_missing=True) == len(some)
                    for id_ in some:
                        del self.model[id_]
                else:
                    refresh = self.bm25 and self.generator.random() < 0.5
                    editor.commit(self.vocabulary())
                    editor.compact(refresh=refresh)
                    if refresh:
                        self.average = self.live_average()
            editor.commit(self.vocabulary())

    def take_up(self) -> None:
        """Go on with the newest snapshot, refreshed or opened anew."""
        if self.generator.random() < 0.5:
            newer = self.index.refresh()
            if newer is not self.index:
                self.index.close()
        else:
            self.index.close()
            newer = Index(self.folder)
        self.index = newer

    def check(self, rebuilt: Path) -> None:
        """Compare the index with one that is built at once, and that one with brute force."""
        index = self.index
        ids = list(self.model)
        matrix, own = matrices([self.model[id_] for id_ in ids], self.width)
        queries = matrices([(self.query(), set()) for _ in range(4)], self.width)[0]
        assert index.document_count == len(ids)
        numbers = index.document_numbers([*ids, "never"])
        assert numbers[-1] == -1
        assert (numbers[:-1] >= 0).all()
        assert (np.diff(numbers[:-1]) > 0).all()
        assert index.document_ids(numbers[:-1]) == ids
        assert [d.id for d in index.documents(numbers[:-1])] == ids
        grid = index.manifest.grid
        if self.bm25:
            weighting = index.manifest.weighting
            assert weighting is not None
            assert weighting.average_length == pytest.approx(self.average, rel=1e-12)
            rows = np.repeat(np.arange(len(ids)), np.diff(matrix.indptr))
            lengths = np.asarray(matrix.sum(axis=1)).astype(np.uint32)
            matrix.data = weighting.impacts(matrix.data, lengths[rows])
        with IndexWriter(
            rebuilt, encoder={}, impact_bits=grid.bits, impact_maximum=grid.maximum, durable=False
        ) as writer:
            writer.add(matrix, [record(id_) for id_ in ids], own)
            writer.commit(self.vocabulary())
        terms = np.arange(self.width)
        with Index(rebuilt) as fresh:
            statistics = [(index.document_frequencies(terms), fresh.document_frequencies(terms))]
            if not self.bm25:
                own_frequencies = fresh.text_document_frequencies(terms)
                statistics.append((index.text_document_frequencies(terms), own_frequencies))
            for found, expected in statistics:
                assert found.tolist() == expected.tolist()
            stored = on_grid(matrix, grid)
            for k in (1, 3, 50):
                plain = [hits_by_hand(stored, queries[[i]], k) for i in range(4)]
                for algorithm in ALGORITHMS:
                    found_now = index.search(queries, k, algorithm=algorithm)
                    found_fresh = fresh.search(queries, k, algorithm=algorithm)
                    for now, then, hand in zip(found_now, found_fresh, plain, strict=True):
                        assert index.document_ids(now.documents) == fresh.document_ids(then.documents)
                        assert now.scores.tobytes() == then.scores.tobytes()
                        assert_same_hits(Hits(then.documents, then.scores), hand)
        index.verify()

    def query(self) -> dict[int, float]:
        terms = self.generator.choice(self.width, 4, replace=False)
        return dict(zip(terms.tolist(), self.generator.choice([1.0, 0.7, 2.0], 4).tolist(), strict=True))


def record(id_: str) -> DocumentRecord:
    return DocumentRecord(id_, f"title of {id_}", f"text of {id_}", {"length": len(id_)})


def matrices(
    rows: list[tuple[dict[int, float], set[int]]], width: int
) -> tuple[sparse.csr_array, sparse.csr_array]:
    weights = np.zeros((len(rows), width), np.float32)
    own = np.zeros((len(rows), width), np.float32)
    for i, (terms, text) in enumerate(rows):
        weights[i, list(terms)] = list(terms.values())
        own[i, list(text)] = 1
    return sparse.csr_array(weights), sparse.csr_array(own)


def run(seed: int, steps: int, bm25: bool, check_every: int) -> History:
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder) / "an.index", seed, bm25)
        for step in range(steps):
            history.step(merge=bool(seed % 3))
            history.take_up()
            if step % check_every == check_every - 1:
                history.check(Path(folder) / f"rebuilt-{step}")
        history.index.close()
    return history


@given(seed=st.integers(0, 2**32), steps=st.integers(1, 8), bm25=st.booleans())
@settings(max_examples=40, deadline=None)
def test_short_histories(seed: int, steps: int, bm25: bool) -> None:
    run(seed, steps, bm25, check_every=1)


@pytest.mark.parametrize("bm25", [False, True])
def test_long_histories(bm25: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tiers as small as the documents here, so that segments of several tiers come up.
    monkeypatch.setattr(policy, "SMALL", 40)
    monkeypatch.setattr(policy, "FACTOR", 3)
    history = run(1 + bm25, 60, bm25, check_every=10)
    assert history.made > 100


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_many_long_histories(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "SMALL", 40)
    monkeypatch.setattr(policy, "FACTOR", 2 + seed % 4)
    run(1000 + seed, 150, bool(seed % 2), check_every=5)
