"""Grow real vectors to millions of documents, or show how like real ones grown vectors are.

    python scripts/grow_corpus.py --out GROWN --documents 8800000
    python scripts/grow_corpus.py --compare

A grown document is made from two real ones. The first is drawn at random. The second is drawn from
the posting list of a random term of the first: it shares a subject, as sentences of one text do. A
share s, drawn for each document between 0.35 and 0.8, of the first one's terms is kept, the others
are dropped; of the second one's terms the share 1 - s is mixed in. Each impact is jittered on the
scale of the normal distribution that has the same ranks (z becomes 0.95 z plus normal noise of 0.3),
which leaves the distribution of impacts over all postings as it was. At most as many terms are kept
as the longest real document has.

Documents come in random order in parts of 250,000, each from a random generator of its own, so the
first million of a corpus of 8.8 million is the corpus of a million. A part takes about 100 MB on disk
and 300 MB while it is made.

`--compare` measures what growing does to pruning: it grows a tenth or less of the real documents to
the number of all of them and prints its figures beside the real ones (see grown_likeness.py).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import numba as nb
import numpy as np
from grown_likeness import print_likeness
from numpy.typing import NDArray
from scipy import sparse, special
from vectors import KINDS, Vectors

SEED = 5
KEPT = (0.35, 0.8)
NOISE = 0.3
PART = 250_000
# Ranks are taken on a grid of this many steps a standard deviation, out to six of them.
_STEPS, _REACH = 400, 6


@nb.njit(nogil=True)
def _grow(
    documents: Any,
    by_term: Any,
    normal: Any,
    inverse: Any,
    rng: Any,
    count: Any,
    kept: Any,
    noise: Any,
    most: Any,
) -> Any:
    """Merge pairs of documents; all arrays of `documents` ascend in term within a document."""
    starts, terms, impacts = documents
    term_starts, term_documents = by_term
    new_terms = np.empty(count * most, np.uint16)
    new_impacts = np.empty(count * most, np.uint8)
    lengths = np.empty(count, np.uint16)
    shrink = np.sqrt(1 - noise * noise)
    end = 0
    for i in range(count):
        first = rng.integers(0, len(starts) - 1)
        while starts[first] == starts[first + 1]:
            first = rng.integers(0, len(starts) - 1)
        p, p_end = starts[first], starts[first + 1]
        term = terms[rng.integers(p, p_end)]
        second = term_documents[rng.integers(term_starts[term], term_starts[term + 1])]
        q, q_end = starts[second], starts[second + 1]
        share = kept[0] + (kept[1] - kept[0]) * rng.random()
        # The length stays that of the first document where the second one is shorter or longer.
        mixed = (1 - share) * (p_end - p) / (q_end - q)
        begin = end
        while (p < p_end or q < q_end) and end - begin < most:
            if q >= q_end or (p < p_end and terms[p] < terms[q]):
                term, impact, taken = terms[p], impacts[p], rng.random() < share
                p += 1
            elif p >= p_end or terms[q] < terms[p]:
                term, impact, taken = terms[q], impacts[q], rng.random() < mixed
                q += 1
            else:  # a term of both is kept, with the impact of either
                term, impact, taken = terms[p], impacts[p] if rng.random() < share else impacts[q], True
                p += 1
                q += 1
            if taken:
                z = shrink * normal[impact] + noise * rng.standard_normal()
                step = int((z + _REACH) * _STEPS)
                new_terms[end] = term
                new_impacts[end] = inverse[min(max(step, 0), len(inverse) - 1)]
                end += 1
        lengths[i] = end - begin
    return new_terms[:end], new_impacts[:end], lengths


class Grown(NamedTuple):
    """Documents one after the other: their terms (uint16), impacts (uint8), and lengths (uint16)."""

    terms: NDArray[np.uint16]
    impacts: NDArray[np.uint8]
    lengths: NDArray[np.uint16]

    def matrix(self, vocabulary: int) -> sparse.csr_array:
        starts = np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])
        arrays = self.impacts, self.terms.astype(np.int32), starts
        return sparse.csr_array(arrays, shape=(len(self.lengths), vocabulary))


class Grower:
    """Makes parts of a grown corpus from real documents (CSR, uint8 impacts above 0)."""

    def __init__(self, real: sparse.csr_array) -> None:
        if real.shape[1] > 1 << 16:
            raise SystemExit(f"Terms are written as 16 bits; {real.shape[1]:,} do not fit.")
        real.sort_indices()
        self.documents = real.indptr.astype(np.int64), real.indices.astype(np.int32), real.data
        by_term = real.tocsc()
        self.by_term = by_term.indptr.astype(np.int64), by_term.indices.astype(np.int32)
        self.most = int(np.diff(real.indptr).max())
        counts = np.bincount(real.data, minlength=256)
        up_to = np.cumsum(counts) / counts.sum()
        # An impact stands in the middle of the ranks that it takes.
        middle = up_to - counts / counts.sum() / 2
        self.normal = special.ndtri(np.clip(middle, 1e-9, 1 - 1e-9))
        ranks = special.ndtr((np.arange(2 * _REACH * _STEPS) + 0.5) / _STEPS - _REACH)
        inverse = np.clip(np.searchsorted(up_to, ranks), real.data.min(), real.data.max())
        self.inverse = inverse.astype(np.uint8)

    def part(self, number: int, count: int) -> Grown:
        """Grow the first `count` documents of a part."""
        rng = np.random.default_rng([SEED, number])
        parts = (self.documents, self.by_term, self.normal, self.inverse, rng, count, KEPT, NOISE, self.most)
        return Grown(*_grow(*parts))


def write(grower: Grower, real: Vectors, out: Path, count: int) -> None:
    """Write a corpus of `count` grown documents and the real queries to a new folder."""
    out.mkdir(parents=True)
    parts = -(-count // PART)
    postings = 0
    for number in range(parts):
        grown = grower.part(number, min(PART, count - number * PART))
        for name, array in grown._asdict().items():
            np.save(out / f"{name}-{number:03}.npy", array)
        postings += len(grown.terms)
        print(f"part {number + 1} of {parts}: {postings:,} postings so far", flush=True)
    for kind in KINDS:
        queries = real.queries(kind)
        vocabulary = queries.shape[1]
        sparse.save_npz(out / f"queries-{kind}.npz", queries)
    about = {"documents": count, "parts": parts, "postings": postings, "vocabulary": vocabulary}
    about |= {"seed": SEED, "kept": KEPT, "noise": NOISE, "grown_from": real.count}
    # Written last: a folder without it was not finished.
    (out / "corpus.json").write_text(json.dumps(about))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vectors", type=Path, default=Path("../shared/data/vectors"))
    parser.add_argument("--out", type=Path, help="a folder that does not exist yet")
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--compare", action="store_true", help="print how like real documents grown ones are")
    parser.add_argument("--factors", type=int, nargs="+", default=[1, 4, 16, 35], help="for --compare")
    args = parser.parse_args()
    if not args.compare and args.out is None:
        parser.error("give --out FOLDER, or --compare")
    real = Vectors(args.vectors)
    if args.out is not None:
        write(Grower(real.matrix()), real, args.out, args.documents)
    if args.compare:
        queries = {kind: real.queries(kind) for kind in KINDS}
        everything = real.matrix()
        shuffled = everything[np.random.default_rng(SEED).permutation(real.count)]
        corpora = {"real, in their order": lambda: everything, "real, shuffled": lambda: shuffled}
        for factor in args.factors:
            sample = shuffled[: real.count // factor]
            name = f"grown {factor}-fold from {sample.shape[0]:,}"
            corpora[name] = lambda sample=sample: (
                Grower(sample).part(0, real.count).matrix(everything.shape[1])
            )
        print_likeness(corpora, queries)


if __name__ == "__main__":
    main()
