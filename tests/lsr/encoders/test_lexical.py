from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from lsr.encoders.lexical import counted_pieces, with_lexical_weights

WIDTH = 12
texts = st.lists(st.lists(st.integers(0, WIDTH + 2), max_size=9), min_size=1, max_size=6)


@given(texts, st.integers(0, 2**32 - 1))
def test_equals_the_formula_term_by_term(pieces: list[list[int]], seed: int) -> None:
    random = np.random.default_rng(seed)
    learned = sparse.random_array((len(pieces), WIDTH), density=0.3, rng=random).astype(np.float32)
    learned = sparse.csr_array(learned)
    arrays = [np.array(ids, np.int32) for ids in pieces]
    counts = counted_pieces(list(range(len(pieces))), arrays, len(pieces), WIDTH)
    special = np.array([0, 3])
    found = with_lexical_weights(learned, counts, 0.7, special)
    dense = learned.toarray().astype(np.float64)
    for row, ids in enumerate(pieces):
        own = Counter(piece for piece in ids if piece < WIDTH and piece not in (0, 3))
        length = own.total()
        for piece, tf in own.items():
            dense[row, piece] += 0.7 * tf / (tf + 1.2 * (1 - 0.4 + 0.4 * length / 128))
    np.testing.assert_allclose(found.toarray(), dense, rtol=1e-6, atol=1e-7)
    assert found.has_sorted_indices
    assert (found.data != 0).all()


def test_windows_of_a_text_are_counted_together() -> None:
    counts = counted_pieces([0, 1, 0], [np.array([5, 5, 7], np.int32), np.array([2], np.int32),
                                        np.array([5], np.int32)], 3, WIDTH)  # fmt: skip
    assert counts.toarray()[0, 5] == 3
    assert counts.toarray()[1].sum() == 1
    assert counts.toarray()[2].sum() == 0


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), True, "much"])
def test_a_weight_that_is_none_is_refused(value: object) -> None:
    from lsr.encoders.learned_settings import LearnedSettings
    from lsr.errors import UserError

    with pytest.raises(UserError, match="lexical_weight"):
        LearnedSettings(lexical_weight=value)  # type: ignore[arg-type]
