"""Safe block-max search equals exhaustive search, and its structures are what they say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from brute_force import assert_same_hits
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lsr.index import DocumentRecord, Hits, Index, IndexProblem, IndexWriter
from lsr.index.answering import AUTO, BLOCKMAX, EXHAUSTIVE, answer
from lsr.index.blocks import FILES, Blocks
from lsr.index.queries import read_queries

VECTORS = Path(__file__).parents[2].parent / "shared" / "data" / "vectors"


@pytest.fixture(autouse=True)
def block_maxima_for_small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsr.index.block_writer.LEAST_DOCUMENTS", 0)
    return


def corpus(documents: int, seed: int, frequencies: list[float], ties: bool = False) -> sparse.csr_array:
    """A matrix whose terms occur in the given shares of documents."""
    generator = np.random.default_rng(seed)
    columns = []
    for share in frequencies:
        held = generator.random(documents) < share
        values = generator.integers(1, 4, documents) if ties else generator.gamma(1.0, 40.0, documents) + 1
        columns.append(np.where(held, values, 0))
    matrix = sparse.csr_array(np.stack(columns, axis=1).astype(np.float32))
    matrix.sort_indices()
    return matrix


FREQUENCIES = [0.9, 0.3, 0.1, 0.1, 0.05, 0.05, 0.02, 0.02, 0.01, 0.004, 0.001, 0.0002]


@pytest.mark.parametrize("bits", [8, 16])
def test_rows_and_places_are_what_a_plain_reading_gives(build, monkeypatch, bits) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("lsr.index.block_writer.MOST_BYTES_A_POSTING", 0.3)
    matrix = corpus(70_001, 1, FREQUENCIES)
    index = build(matrix, impact_bits=bits)
    (postings,), blocks = index.postings, index._segments[0].blocks
    assert 0 < len(blocks.terms) < len(FREQUENCIES)
    assert blocks.tiles == -(-70_001 // 512)
    for row, term in enumerate(blocks.terms.tolist()):
        documents, codes = postings.documents_of(term)
        largest = int(codes.max())
        assert blocks.largest[term] == largest
        expected = np.zeros(blocks.tiles * 64, np.int64)
        np.maximum.at(expected, documents // 8, -(-codes.astype(np.int64) * 15 // largest))
        bytes_ = blocks.rows[row * blocks.tiles * 32 : (row + 1) * blocks.tiles * 32]
        windows = np.split(bytes_, [128 * 32])  # one whole window and a part of the next
        words = [window.view("<u2").astype(np.int64) for window in windows]
        found = np.concatenate([window >> shift & 15 for window in words for shift in (0, 4, 8, 12)])
        assert found.tolist() == expected.tolist()
        size = 1 << int(blocks.shifts[row])
        assert 3 < size * len(documents) / 70_001 <= 12 or size in (64, 65_536)
        count = -(-blocks.tiles * 512 // size)
        places = blocks.places[blocks.place_starts[row] : blocks.place_starts[row] + count]
        for group in range(count):
            before = (documents // 65_536 == group * size // 65_536) & (documents < group * size)
            assert places[group] == np.count_nonzero(before)
    assert blocks.place_starts[-1] + count == len(blocks.places)
    # Frequent terms get the rows.
    frequencies = np.diff(matrix.tocsc().indptr)
    assert set(blocks.terms.tolist()) == set(np.argsort(-frequencies)[: len(blocks.terms)].tolist())


@given(
    documents=st.sampled_from([7, 500, 513, 66_000, 140_000]),
    seed=st.integers(0, 10**6),
    k=st.sampled_from([1, 10, 100, 1000]),
    ties=st.booleans(),
    bits=st.sampled_from([8, 16]),
    bytes_a_posting=st.sampled_from([0.0, 0.1, 0.3, 1000.0]),
    share=st.sampled_from([None, 0.5, 0.001]),
    scale=st.sampled_from([1e-35, 1e-3, 1.0, 1e30, 1e36]),
)
@settings(max_examples=25, deadline=None)
def test_blockmax_equals_exhaustive(  # type: ignore[no-untyped-def]
    tmp_path_factory, documents, seed, k, ties, bits, bytes_a_posting, share, scale
) -> None:
    matrix = corpus(documents, seed, FREQUENCIES, ties)
    generator = np.random.default_rng(seed)
    queries = generator.random((6, len(FREQUENCIES))) * (generator.random((6, len(FREQUENCIES))) < 0.6)
    queries = np.round(queries * 3) if ties else queries * generator.gamma(0.5, 1, queries.shape)
    queries = sparse.csr_array((queries * scale).astype(np.float32))
    queries.eliminate_zeros()
    folder = tmp_path_factory.mktemp("blockmax") / "an.index"
    with pytest.MonkeyPatch.context() as patch, IndexWriter(folder, encoder={}, impact_bits=bits) as writer:
        patch.setattr("lsr.index.block_writer.MOST_BYTES_A_POSTING", bytes_a_posting)
        writer.add(matrix, [DocumentRecord(str(i)) for i in range(documents)])
        writer.commit([str(i) for i in range(len(FREQUENCIES))])
    allowed = None if share is None else generator.random(documents) < share
    with Index(folder) as index:
        segment = index._segments[0]
        assert segment.blocks is not None
        arguments = segment.postings, segment.blocks, *read_queries(queries), k, allowed
        expected, _ = answer(*arguments, algorithm=EXHAUSTIVE)
        for algorithm in (BLOCKMAX, AUTO):
            found, figures = answer(*arguments, algorithm=algorithm)
            for one, other in zip(found, expected, strict=True):
                assert_same_hits(one, other)
            assert figures[:, 0].tolist() == [len(hits.scores) for hits in expected]
        # Only what beats a score that is given is found.
        floors = np.array(
            [hits.scores[len(hits.scores) // 3] if len(hits.scores) else 0 for hits in expected]
        )
        for algorithm in (EXHAUSTIVE, BLOCKMAX):
            found, _ = answer(*arguments, algorithm=algorithm, floors=floors.astype(np.float32))
            for one, other, floor in zip(found, expected, floors, strict=True):
                better = np.count_nonzero(other.scores > floor)
                assert_same_hits(one, Hits(other.documents[:better], other.scores[:better]))


def test_it_scores_few_blocks_where_few_stand_out(build, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("lsr.index.block_writer.MOST_BYTES_A_POSTING", 20.0)
    matrix = corpus(100_000, 3, [0.02] * 12).tolil()
    for document in range(50, 100_000, 9000):
        matrix[document, :6] = 250.0
    index = build(sparse.csr_array(matrix))
    query = sparse.csr_array(np.array([[1.0] * 6 + [0.0] * 6], np.float32))
    (cost,), (exhaustive,) = (index.costs(query, algorithm=a)[0] for a in ("blockmax", "exhaustive"))
    assert cost.algorithm == "blockmax"
    assert 2 <= cost.blocks < 500 < 12_500
    assert cost.postings < exhaustive.postings / 5
    assert exhaustive == ("exhaustive", int(matrix.tocsr()[:, :6].nnz), 0)


def test_segments_of_rising_sizes_after_each_other(build) -> None:  # type: ignore[no-untyped-def]
    """They share scratch memory, which has to grow with them."""
    for documents in (500, 1100, 40_000, 600):
        index = build(corpus(documents, documents, FREQUENCIES))
        query = sparse.csr_array(np.arange(1, 13, dtype=np.float32)[None])
        for one, other in zip(
            index.search(query, 20, algorithm="blockmax"),
            index.search(query, 20, algorithm="vectorised"),
            strict=True,
        ):
            assert_same_hits(one, other)


def test_segments_without_block_maxima_are_searched_exhaustively(build, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("lsr.index.block_writer.LEAST_DOCUMENTS", 10**9)
    index = build(corpus(1000, 4, FREQUENCIES))
    query = sparse.csr_array(np.ones((1, len(FREQUENCIES)), np.float32))
    assert index._segments[0].blocks is None
    assert index.costs(query, algorithm="blockmax")[0][0].algorithm == "exhaustive"
    assert_same_hits(
        index.search(query, algorithm="blockmax")[0], index.search(query, algorithm="exhaustive")[0]
    )


def test_files_that_do_not_fit_are_refused_when_opened(build) -> None:  # type: ignore[no-untyped-def]
    index = build(corpus(1000, 5, FREQUENCIES))
    folder, postings = index._segments[0].folder, index.postings[0]
    for key, (name, dtype) in FILES.items():
        path = folder / name
        kept = path.read_bytes()
        path.unlink()
        np.save(path, np.append(np.frombuffer(kept[128:], dtype), dtype.type(7)))
        with pytest.raises(IndexProblem, match=r"block_\w+.npy does not fit"):
            Blocks.open(folder, postings)
        path.write_bytes(kept[:-1])
        with pytest.raises(IndexProblem, match="is damaged"):
            Blocks.open(folder, postings)
        path.unlink()
        if key == "rows":
            assert Blocks.open(folder, postings) is None
        else:
            with pytest.raises(IndexProblem, match="cannot be read"):
                Blocks.open(folder, postings)
        path.write_bytes(kept)
    assert Blocks.open(folder, postings) is not None


@pytest.mark.parametrize("seed", range(5))
def test_any_bytes_leave_the_kernel_within_its_arrays(build, monkeypatch, seed) -> None:  # type: ignore[no-untyped-def]
    """Run with bounds checks, on contents at random."""
    import subprocess
    import sys

    monkeypatch.setattr("lsr.index.block_writer.MOST_BYTES_A_POSTING", 0.3)
    index = build(corpus(70_000, seed, FREQUENCIES))
    folder = index._segments[0].folder
    generator = np.random.default_rng(seed)
    for name in ("block_maxima", "block_places", "block_largest", "offsets", "codes"):
        path = folder / f"{name}.npy"
        content = bytearray(path.read_bytes())
        content[128:] = generator.integers(0, 256, len(content) - 128, dtype=np.uint8).tobytes()
        path.write_bytes(content)
    program = (
        "import sys, numpy as np; from scipy import sparse; from lsr.index import Index\n"
        f"queries = sparse.csr_array(np.random.default_rng({seed}).random((4, {len(FREQUENCIES)}), np.float32))\n"
        "hits = Index(sys.argv[1]).search(queries, 10, algorithm='blockmax')\n"
        "assert all((h.documents < 70_000).all() and (h.documents >= 0).all() for h in hits)\n"
    )
    if seed:
        exec(compile(program.replace("sys.argv[1]", repr(str(index.folder))), "program", "exec"), {})
        return
    # Bounds checks are compiled in by this variable; not cached beside the code without them.
    import os

    done = subprocess.run(
        [sys.executable, "-c", program, str(index.folder)],
        env={**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(index.folder / "cache")},
        cwd=index.folder,  # At the root of a checkout, ./lsr would hide the installed package.
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_eight_threads_at_once(build, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("lsr.index.block_writer.MOST_BYTES_A_POSTING", 0.3)
    index = build(corpus(70_000, 6, FREQUENCIES))
    generator = np.random.default_rng(6)
    queries = sparse.csr_array(
        (generator.random((200, 12)) * (generator.random((200, 12)) < 0.4)).astype(np.float32)
    )
    alone = index.search(queries, 10, algorithm="exhaustive")
    for _ in range(3):
        for one, other in zip(index.search(queries, 10, algorithm="blockmax", threads=8), alone, strict=True):
            assert_same_hits(one, other)


@pytest.mark.skipif(not VECTORS.exists(), reason="the real vectors are not here")
def test_real_vectors(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("load", VECTORS / "load.py")
    assert spec is not None
    assert spec.loader is not None
    load = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(load)
    documents = load.documents()[:30_000].astype(np.float32)
    with IndexWriter(tmp_path / "an.index", encoder={}, impact_maximum=255.0) as writer:
        writer.add(documents, [DocumentRecord(str(i)) for i in range(documents.shape[0])])
        writer.commit([str(i) for i in range(documents.shape[1])])
    with Index(tmp_path / "an.index") as index:
        assert index.sizes()["postings"] / index.posting_count < 5
        for kind in ("free", "expanded"):
            queries = load.queries(kind)[:100]
            for k in (10, 100):
                expected = index.search(queries, k, algorithm="vectorised")
                for algorithm in ("exhaustive", "blockmax"):
                    found = index.search(queries, k, algorithm=algorithm)  # type: ignore[arg-type]
                    for one, other in zip(found, expected, strict=True):
                        assert_same_hits(one, other)
