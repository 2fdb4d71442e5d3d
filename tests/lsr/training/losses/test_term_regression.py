from __future__ import annotations

import numpy as np
import pytest
import torch

from lsr.composition.types import TokenBatch
from lsr.training.losses.term_regression import TermMSE, bag_of_terms, query_term_recall


def test_the_formula_and_the_gradient():
    generator = np.random.default_rng(0)
    weights, targets = generator.uniform(0, 2, (3, 5)), generator.uniform(0, 1, (3, 5))
    terms = generator.random((3, 5)) < 0.6
    pairs = [(i, j) for i in range(3) for j in range(5) if terms[i, j]]
    expected = sum((weights[i, j] - 100 * targets[i, j]) ** 2 for i, j in pairs) / len(pairs)
    free = torch.from_numpy(weights).requires_grad_()
    arguments = (torch.from_numpy(targets), torch.from_numpy(terms))
    assert TermMSE(scale=100)(free, *arguments).item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(lambda w: TermMSE()(w, *arguments), (free,))


def test_documents_without_terms():
    weights = torch.ones((2, 3), requires_grad=True)
    loss = TermMSE()(weights, torch.ones((2, 3)), torch.zeros((2, 3), dtype=torch.bool))
    loss.backward()
    assert loss == 0
    assert (weights.grad == 0).all()


def test_bags_leave_out_padding_and_excluded_terms():
    batch = TokenBatch(torch.tensor([[1, 4, 4, 2], [1, 3, 0, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]))
    bags = bag_of_terms(batch, 6, excluded=[1])
    assert [row.nonzero().flatten().tolist() for row in bags] == [[2, 4], [3]]


def test_recall_is_the_share_of_a_documents_queries():
    queries = torch.tensor([[1, 0, 1], [1, 0, 0], [0, 1, 0]], dtype=torch.bool)
    recall = query_term_recall(queries, torch.tensor([0, 0, 2]), 3)
    np.testing.assert_allclose(recall, [[1, 0, 0.5], [0, 0, 0], [0, 1, 0]])


def test_minimising_over_single_queries_gives_the_recall():
    queries = torch.tensor([[1, 0, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0]], dtype=torch.bool)
    weights = torch.zeros((1, 3), requires_grad=True)
    optimiser = torch.optim.SGD([weights], lr=0.3)
    for _ in range(200):
        losses = [TermMSE()(weights, query[None], torch.ones((1, 3), dtype=torch.bool)) for query in queries]
        optimiser.zero_grad()
        torch.stack(losses).mean().backward()
        optimiser.step()
    np.testing.assert_allclose(weights.detach(), [[1, 0.25, 0.25]], atol=1e-5)
