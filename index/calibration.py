"""Measuring, when a segment is written, what share of the best documents each approximation finds.

The queries are made from documents of the segment: terms drawn by their impact, either a few with
weights that are IDF, as inference-free encoders give them, or many with impacts of other documents as
weights, as expanding encoders do. A query's own document is left out of its results.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from lsr.index.answering import BLOCKMAX, answer
from lsr.index.approximation import DEPTHS, LEVELS, level_for
from lsr.index.blocks import Blocks
from lsr.index.files import write_array
from lsr.index.postings import WINDOW, Postings
from lsr.index.segment import RECALLS

# Approximating saves next to nothing on smaller segments, and calibrating is a fifth of their build.
LEAST_DOCUMENTS = 500_000
_DOCUMENTS = 64
_FEW_TERMS = 3, 14
_MANY_TERMS = 32
_SEED = 1


@nb.njit(nogil=True, cache=True)
def _rows(
    offsets: Any,
    codes: Any,
    run_windows: Any,
    run_starts: Any,
    term_runs: Any,
    wanted: Any,
    rows: Any,
    lengths: Any,
) -> None:
    """Read the terms and codes of some documents, in rising order, as far as there is room."""
    for term in range(len(term_runs) - 1):
        for run in range(term_runs[term], term_runs[term + 1]):
            base = np.int64(run_windows[run]) * WINDOW
            first = np.searchsorted(wanted, base)
            for i in range(first, len(wanted)):
                if wanted[i] >= base + WINDOW:
                    break
                offset = np.uint16(wanted[i] - base)
                place = run_starts[run] + np.searchsorted(
                    offsets[run_starts[run] : run_starts[run + 1]], offset
                )
                if place < run_starts[run + 1] and offsets[place] == offset and lengths[i] < rows.shape[1]:
                    rows[i, lengths[i], 0] = term
                    rows[i, lengths[i], 1] = codes[place]
                    lengths[i] += 1


def sample_queries(
    postings: Postings, documents: NDArray[np.int64]
) -> list[tuple[int, NDArray[np.int32], NDArray[np.float32]]]:
    """Make two queries from each document: its number, terms and weights."""
    generator = np.random.default_rng(_SEED)
    rows = np.zeros((len(documents), 1024, 2), np.int64)
    lengths = np.zeros(len(documents), np.int64)
    _rows(
        postings.offsets,
        postings.codes,
        postings.run_windows,
        postings.run_starts,
        postings.term_runs,
        documents,
        rows,
        lengths,
    )
    queries = []
    for document, row, length in zip(documents.tolist(), rows, lengths.tolist(), strict=True):
        terms, codes = row[:length, 0], row[:length, 1].astype(np.float64)
        frequencies = postings.document_frequencies(terms)
        for count in (int(generator.integers(*_FEW_TERMS, endpoint=True)), _MANY_TERMS):
            if length < 2:
                continue
            chosen = generator.choice(length, min(count, length), replace=False, p=codes / codes.sum())
            chosen.sort()
            if count == _MANY_TERMS:
                weights = codes[chosen] * generator.lognormal(0, 0.5, len(chosen))
            else:
                weights = np.log1p(postings.document_count / frequencies[chosen])
            queries.append((document, terms[chosen].astype(np.int32), weights.astype(np.float32)))
    return queries


def measure_recalls(postings: Postings, blocks: Blocks) -> NDArray[np.float32]:
    """Return what each level of approximation finds, shape (LEVELS * len(DEPTHS),).

    Of queries of few and of many terms, what is found of those that suffer more counts.
    """
    generator = np.random.default_rng(_SEED)
    count = min(_DOCUMENTS, postings.document_count)
    documents = np.sort(generator.choice(postings.document_count, count, replace=False))
    queries = sample_queries(postings, documents)
    recalls = np.ones((LEVELS, len(DEPTHS)), np.float32)
    for column, k in enumerate(DEPTHS):
        shares: list[tuple[list[float], list[float]]] = [([], []) for _ in range(LEVELS)]
        for document, terms, weights in queries:
            many = int(len(terms) > _FEW_TERMS[1])
            starts = np.array([0, len(terms)], np.int32)
            best: NDArray[np.int64] = np.empty(0, np.int64)
            for level in range(LEVELS):
                (hits,), _ = answer(
                    postings, blocks, starts, terms, weights, k + 1,
                    algorithm=BLOCKMAX, approximation=level_for(level, k),
                )  # fmt: skip
                found = hits.documents[hits.documents != document][:k]
                if level == 0:
                    best = found
                if len(best):
                    shares[level][many].append(np.isin(best, found).mean())
        recalls[:, column] = [min(np.mean(kind) if kind else 1.0 for kind in kinds) for kinds in shares]
    return recalls.ravel()


def write_recalls(folder: Path, postings: Postings) -> None:
    """Write what approximations find in a segment, beside its block maxima; nothing where it is small."""
    if postings.document_count < LEAST_DOCUMENTS:
        return
    blocks = Blocks.open(folder, postings)
    if blocks is not None:
        write_array(folder / RECALLS, measure_recalls(postings, blocks))
