"""What storing impacts in 8 or 16 bits costs against float weights: nDCG@10 and top-10 overlap.

    python scripts/measure_quantisation.py ../shared/data/collections/* [--encoder PATH] [--max-length N]

Each data set is encoded once; the float ranking is the sparse product of the encoder's own float32
weights (accumulated in float64), ordered like the index orders: by score, then by document.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.corpus import ReadReport
from lsr.encoders import Encoder, EncoderOptions, load_encoder
from lsr.encoders.bm25 import Bm25Encoder
from lsr.eval import Dataset, load_dataset, score_rankings
from lsr.index import DocumentRecord, Index, IndexWriter


def encode(dataset: Dataset, encoder: Encoder) -> tuple[list[str], sparse.csr_array]:
    """Return the ids and what the encoder hands to the index, all documents at once."""
    documents = list(dataset.documents(ReadReport()))
    weights = encoder.encode_documents([document.full_text for document in documents])
    return [document.id for document in documents], weights


def float_ranking(weights: sparse.csr_array, queries: sparse.csr_array) -> list[NDArray[np.int64]]:
    """Return the ten best documents of each query by float weights."""
    by_term = weights.astype(np.float64).T.tocsr()
    rankings = []
    for row in range(queries.shape[0]):
        scores = (queries[[row]].astype(np.float64) @ by_term[: queries.shape[1]]).toarray()[0]
        best = np.argsort(-scores, kind="stable")[:10]
        rankings.append(best[scores[best] > 0])
    return rankings


def measure(name: str, encoder_name: str, options: EncoderOptions) -> None:
    """Print one line for each number of bits."""
    dataset = load_dataset(name)
    encoder = load_encoder(encoder_name, options)
    ids, handed = encode(dataset, encoder)
    weights = encoder.weigh(handed) if isinstance(encoder, Bm25Encoder) else handed
    bm25 = (encoder.k1, encoder.b) if isinstance(encoder, Bm25Encoder) else None

    def ndcg(rankings: list[NDArray[np.int64]]) -> float:
        named = [[ids[document] for document in ranking] for ranking in rankings]
        by_query = dict(zip([query.id for query in dataset.queries], named, strict=True))
        return score_rankings(dataset.qrels, by_query).mean()["ndcg@10"]

    expected: list[NDArray[np.int64]] = []
    for bits in (8, 16):
        with tempfile.TemporaryDirectory() as folder:
            with IndexWriter(Path(folder) / "i", encoder={}, bm25=bm25, impact_bits=bits) as writer:
                writer.add(handed, [DocumentRecord(id_) for id_ in ids])
                writer.commit(encoder.vocabulary, getattr(encoder, "text_frequencies", None))
            with Index(Path(folder) / "i") as index:
                queries = encoder.encode_queries([query.text for query in dataset.queries], index)
                found = [hits.documents for hits in index.search(queries, 10)]
                error = index.manifest.segments[0].quantisation
        if not expected:
            expected = float_ranking(weights, queries)
            print(f"{dataset.name:<18} float32  nDCG@10 {ndcg(expected):.4f}", flush=True)
        pairs = zip(expected, found, strict=True)
        overlap = np.mean([len(np.intersect1d(a, b)) / len(a) for a, b in pairs if len(a)])
        print(
            f"{dataset.name:<18} {bits:>2} bits  nDCG@10 {ndcg(found):.4f}  top-10 overlap {overlap:.4f}  "
            f"mean error {error['relative_error']:.3%} of the mean weight",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--encoder", default="bm25")
    parser.add_argument("--max-length", type=int)
    args = parser.parse_args()
    for name in args.datasets:
        measure(name, args.encoder, EncoderOptions(max_length=args.max_length))


if __name__ == "__main__":
    main()
