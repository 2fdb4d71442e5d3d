from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lsr.training.losses.ensemble import ensemble, normalise_per_query

NAN = math.nan


def normalised(row):
    known = [s for s in row if not math.isnan(s)]
    return [(s - min(known)) / (max(known) - min(known) + 1e-6) if not math.isnan(s) else NAN for s in row]


def test_normalised_per_query():
    generator = np.random.default_rng(0)
    scores = generator.normal(5, 20, size=(6, 8))
    scores[generator.random(scores.shape) < 0.3] = NAN
    got = normalise_per_query(torch.from_numpy(scores))
    np.testing.assert_allclose(got, [normalised(row) for row in scores], rtol=1e-12)


def test_masked_and_equal_and_missing_scores():
    scores = torch.tensor([[1.0, 2.0, 100.0], [4.0, 4.0, 4.0], [NAN, NAN, NAN]])
    mask = torch.tensor([[True, True, False], [True, True, True], [True, True, True]])
    got = normalise_per_query(scores, mask)
    np.testing.assert_allclose(got, [[0, 1, NAN], [0, 0, 0], [NAN, NAN, NAN]], rtol=1e-5)
    assert normalise_per_query(torch.zeros((2, 0))).shape == (2, 0)


def test_an_ensemble_is_the_scaled_mean_of_normalised_scores():
    generator = np.random.default_rng(1)
    dense, sparse = generator.uniform(0.6, 0.9, (3, 4)), generator.uniform(0, 40, (3, 4))
    got = ensemble([torch.from_numpy(dense), torch.from_numpy(sparse)], scale=30)
    expected = [
        [30 * (a + b) / 2 for a, b in zip(normalised(x), normalised(y), strict=True)]
        for x, y in zip(dense, sparse, strict=True)
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    weighted = ensemble([torch.from_numpy(dense), torch.from_numpy(sparse)], scale=1, weights=[3, 1])
    expected = [
        [(3 * a + b) / 4 for a, b in zip(normalised(x), normalised(y), strict=True)]
        for x, y in zip(dense, sparse, strict=True)
    ]
    np.testing.assert_allclose(weighted, expected, rtol=1e-12)


def test_a_document_is_judged_by_the_teachers_that_rated_it():
    first = torch.tensor([[0.0, 1.0, NAN, NAN]])
    second = torch.tensor([[10.0, 20.0, 15.0, NAN]])
    np.testing.assert_allclose(ensemble([first, second], scale=2), [[0, 2, 1, NAN]], rtol=1e-5)


def test_teachers_and_weights_must_match():
    with pytest.raises(ValueError, match="teacher"):
        ensemble([])
    with pytest.raises(ValueError, match="teacher"):
        ensemble([torch.ones((1, 2))], weights=[1.0, 2.0])
