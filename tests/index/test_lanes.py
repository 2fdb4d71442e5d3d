"""Vector instructions do what plain NumPy does."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsr.index import lanes


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7, 9])
@pytest.mark.parametrize("sums", [64, 192, 8192])
def test_rows_are_added(sums: int, count: int) -> None:
    generator = np.random.default_rng(count)
    rows = generator.integers(0, 256, 20_000, dtype=np.uint8)
    starts = generator.integers(0, len(rows) - sums // 2 + 1, count)
    weights = generator.integers(0, 300, count).astype(np.uint16)
    found = generator.integers(0, 1000, sums).astype(np.uint16)
    expected = found.astype(np.int64)
    for start, weight in zip(starts.tolist(), weights.tolist(), strict=True):
        words = rows[start : start + sums // 2].copy().view("<u2").astype(np.int64)
        expected += weight * np.concatenate([words >> shift & 15 for shift in (0, 4, 8, 12)])
    lanes.add_rows(rows, starts, weights, count, found)
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("start", [-1, 37, 100])
def test_rows_that_lie_outside_are_left_out(start: int) -> None:
    sums = np.zeros(128, np.uint16)
    rows = np.full(100, 255, np.uint8)
    lanes.add_rows(rows, np.array([0, start]), np.ones(2, np.uint16), 2, sums)
    assert not sums.any()


@settings(deadline=None)  # The first call compiles.
@given(
    values=st.lists(st.integers(0, 65_535), max_size=200),
    places=st.tuples(st.integers(0, 200), st.integers(0, 200)),
    wanted=st.integers(0, 65_535),
)
def test_seek_finds_the_first_that_is_not_below(
    values: list[int], places: tuple[int, int], wanted: int
) -> None:
    array = np.sort(np.array(values, np.uint16))
    start, stop = sorted(min(place, len(array)) for place in places)
    expected = start + int(np.searchsorted(array[start:stop], np.uint16(wanted)))
    assert lanes.seek(array, start, stop, np.uint16(wanted)) == expected


@nb.njit
def _of_bits(bits: Any) -> Any:
    return lanes.lowest_bit(bits), lanes.count_bits(bits)


@nb.njit
def _sum(one: Any, other: Any) -> Any:
    return lanes.add_saturating(np.uint16(one), np.uint16(other))


@settings(deadline=None)  # The first call compiles.
@given(values=st.lists(st.integers(0, 65_535), min_size=64, max_size=80), limit=st.integers(0, 65_535))
def test_sixty_four_at_once(values: list[int], limit: int) -> None:
    array = np.array(values, np.uint16)
    for place in (0, len(values) - 64):
        part = values[place : place + 64]
        expected = sum((value >= limit) << i for i, value in enumerate(part))
        assert int(lanes.at_least(array, place, np.uint16(limit))) == expected
        assert lanes.highest(array, place) == max(part)
    for outside in (-1, len(values) - 63):
        assert lanes.at_least(array, outside, np.uint16(0)) == 0
        assert lanes.highest(array, outside) == 0


@settings(deadline=None)  # The first call compiles.
@given(bits=st.integers(1, 2**64 - 1), one=st.integers(0, 65_535), other=st.integers(0, 65_535))
def test_bits_and_sums(bits: int, one: int, other: int) -> None:
    assert _of_bits(np.uint64(bits)) == ((bits & -bits).bit_length() - 1, bits.bit_count())
    assert _sum(one, other) == min(one + other, 65_535)
