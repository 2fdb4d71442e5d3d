from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from scipy import sparse

from lsr.eval import measure_sparsity


class Counts:
    """A matrix of documents, counted as an index counts its postings."""

    def __init__(self, documents: NDArray[np.float32]) -> None:
        self._documents = documents
        self.document_count = len(documents)
        self.posting_count = int(np.count_nonzero(documents))

    def document_frequencies(self, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        frequencies: NDArray[np.int64] = np.count_nonzero(self._documents, axis=0)
        return frequencies[term_ids]


def test_by_hand() -> None:
    documents = np.array([[1, 1, 0, 0], [1, 0, 0, 2]], np.float32)
    queries = np.array([[3, 0, 0, 0], [1, 0, 5, 1], [0, 0, 0, 0]], np.float32)
    sparsity = measure_sparsity(Counts(documents), sparse.csr_array(queries))
    assert sparsity.mean_document_terms == 2
    assert sparsity.mean_query_terms == pytest.approx(4 / 3)
    # p_q = (2/3, 0, 1/3, 1/3), p_d = (1, 1/2, 0, 1/2)
    assert sparsity.flops == pytest.approx(2 / 3 + 1 / 6)


def _matrices(width: int) -> st.SearchStrategy[NDArray[np.float32]]:
    shapes = st.tuples(st.integers(0, 6), st.just(width))
    return shapes.flatmap(
        lambda shape: npst.arrays(np.float32, shape, elements=st.sampled_from([0, 0, 1, 0.5]))
    )


@given(_matrices(5), _matrices(5))
def test_is_the_mean_of_shared_terms(documents: NDArray[np.float32], queries: NDArray[np.float32]) -> None:
    shared = [np.count_nonzero((document > 0) & (query > 0)) for document in documents for query in queries]
    sparsity = measure_sparsity(Counts(documents), sparse.csr_array(queries))
    assert sparsity.flops == pytest.approx(np.mean(shared) if shared else 0.0)
