from __future__ import annotations

import threading

import numpy as np
import pytest
from scipy import sparse

from lsr.encoders.batching import one_ahead
from lsr.encoders.sparse_rows import maximum_by_owner


def test_one_ahead_keeps_order_and_works_one_item_ahead():
    done: list[int] = []

    def work(item):
        done.append(item)
        return item * item

    results = one_ahead(work, range(5))
    assert next(results) == 0
    assert set(done) <= {0, 1}
    assert list(results) == [1, 4, 9, 16]
    assert done == list(range(5))
    assert list(one_ahead(work, [])) == []


def test_one_ahead_raises_what_work_raises_and_ends_its_thread():
    before = threading.active_count()

    def work(item):
        if item == 2:
            raise KeyError(item)
        return item

    results = one_ahead(work, range(5))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(KeyError):
        next(results)
    assert threading.active_count() == before


@pytest.mark.parametrize("owners", [[3, 0, 2], [3, 0, 3], [1, 1, 1]])
def test_rows_find_their_owners(owners):
    dense = np.array([[0, 2, 0, 1], [5, 0, 0, 0], [0, 3, 0, 0]], np.float32)
    expected = np.zeros((5, 4), np.float32)
    np.maximum.at(expected, owners, dense)
    got = maximum_by_owner(sparse.csr_array(dense), np.array(owners), 5)
    np.testing.assert_array_equal(got.toarray(), expected)


def test_no_rows_at_all():
    got = maximum_by_owner(sparse.csr_array((0, 4), dtype=np.float32), np.zeros(0, np.int64), 3)
    assert got.shape == (3, 4)
    assert got.nnz == 0
