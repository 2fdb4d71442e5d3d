from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lsr.errors import UserError
from lsr.training.losses.df_flops import DFFLOPS, DocumentFrequencies, frequency_weights
from lsr.training.losses.idf_flops import IDFAwareFLOPS
from lsr.training.losses.sparsity import FLOPS, L1, AntiCollapse, L0MaskedFLOPS, active_terms, flops

IDF = np.array([0.02, 1.0, 3.5, 7.25, 0.0, 12.0, 2.0])


def sparse_weights(texts=6, terms=7, seed=0):
    generator = np.random.default_rng(seed)
    weights = generator.uniform(0, 3, size=(texts, terms))
    weights[generator.random((texts, terms)) < 0.4] = 0
    return weights


def flops_reference(weights, term_weight=lambda j: 1.0, kept=lambda row: True, group_size=1):
    texts, terms = weights.shape
    total = 0.0
    for place in range(group_size):
        rows = [weights[i] for i in range(place, texts, group_size)]
        for j in range(terms):
            mean = sum(abs(float(row[j])) for row in rows if kept(row)) / len(rows)
            total += term_weight(j) * mean**2
    return total


def longer_than_four(row):
    return sum(1 for value in row if value != 0) > 4


def df_eval(terms=7):
    loss = DFFLOPS(terms, alpha=0.3, beta=4.0)
    loss.frequencies.set_frequencies(torch.tensor([0, 1, 2, 4, 7, 9, 10]), 10)
    return loss.eval()


def df_weight(j):
    share = [0, 1, 2, 4, 7, 9, 10][j] / 10
    return 0.0 if share == 0 else 1 / (1 + (share ** math.log(2, 0.3) - 1) ** 4.0)


IDF_TENSOR = torch.from_numpy(IDF)
CASES = {
    "flops": (FLOPS(), flops_reference),
    "groups": (FLOPS(group_size=3), lambda w: flops_reference(w, group_size=3)),
    "l1": (L1(), lambda w: sum(abs(float(x)) for x in w.ravel()) / len(w)),
    "l0": (L0MaskedFLOPS(threshold=4), lambda w: flops_reference(w, kept=longer_than_four)),
    "l0-groups": (
        L0MaskedFLOPS(threshold=4, group_size=2),
        lambda w: flops_reference(w, kept=longer_than_four, group_size=2),
    ),
    "idf-matching": (IDFAwareFLOPS(IDF_TENSOR, "matching"), lambda w: flops_reference(w * IDF)),
    "idf-code": (IDFAwareFLOPS(IDF_TENSOR, "code"), flops_reference),
    "idf-inverse": (
        IDFAwareFLOPS(IDF_TENSOR, "inverse"),
        lambda w: flops_reference(w, term_weight=lambda j: 1 / (IDF[j] + 0.3)),
    ),
    "df": (df_eval(), lambda w: flops_reference(w, term_weight=df_weight)),
    "anti-collapse": (AntiCollapse(), lambda w: 1 / (sum(float(x) for x in w.ravel()) + 0.01) ** 2),
}


@pytest.mark.parametrize("name", CASES)
def test_the_formula_in_float64(name):
    loss, reference = CASES[name]
    weights = sparse_weights()
    got = loss(torch.from_numpy(weights))
    assert got.dtype == torch.float64
    # DF-FLOPS keeps document frequencies in float32.
    assert float(got) == pytest.approx(reference(weights), rel=1e-6 if name == "df" else 1e-12)
    single = loss(torch.from_numpy(weights).float())
    assert single.dtype == torch.float32
    assert float(single) == pytest.approx(reference(weights), rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_the_gradient(name):
    # Zeros are left out: |w| and the count of terms have a kink and a step there.
    weights = torch.from_numpy(sparse_weights()).requires_grad_()
    zero = weights.detach() == 0
    assert torch.autograd.gradcheck(
        lambda free: CASES[name][0](torch.where(zero, 0, free)), (weights,), eps=1e-7, atol=1e-6
    )


@pytest.mark.parametrize("name", CASES)
def test_texts_without_terms(name):
    weights = torch.zeros((6, 7), requires_grad=True)
    loss = CASES[name][0](weights)
    loss.backward()
    assert torch.isfinite(weights.grad).all()
    assert torch.isfinite(loss)
    if name != "anti-collapse":
        assert loss == 0


@pytest.mark.parametrize("name", CASES)
def test_a_batch_without_texts(name):
    weights = torch.zeros((0, 7), requires_grad=True)
    loss = CASES[name][0](weights)
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize("name", ["flops", "l1", "anti-collapse"])
def test_half_precision_is_summed_in_single(name):
    weights = torch.full((2, 30_000), 3.0, dtype=torch.float16)
    loss = CASES[name][0](weights)
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert float(loss) == pytest.approx(float(CASES[name][0](weights.double())), rel=1e-5)


def test_anti_collapse_pushes_vanishing_weights_up():
    weights = torch.full((2, 3), 1e-6, requires_grad=True)
    AntiCollapse()(weights).backward()
    assert (weights.grad < -1e3).all()


def test_the_code_reading_is_flops_of_the_matched_weights_over_idf():
    weights = torch.from_numpy(sparse_weights())
    idf = torch.from_numpy(IDF).clamp(min=0.1)
    matched = weights * idf
    assert float(IDFAwareFLOPS(idf, "code")(weights)) == pytest.approx(float(flops(matched / idf)), rel=1e-12)


def test_groups_do_not_merge_texts_of_one_query():
    # Two queries with disjoint terms; all three texts of a query share its terms.
    weights = torch.zeros((6, 2))
    weights[:3, 0] = 1
    weights[3:, 1] = 1
    assert float(FLOPS(group_size=3)(weights)) == pytest.approx(3 * (0.5**2 + 0.5**2))
    with pytest.raises(UserError, match="group_size 4 does not divide the batch's 6 texts"):
        FLOPS(group_size=4)(weights)


def test_active_terms():
    assert active_terms(torch.tensor([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]])).tolist() == [2, 0]


def test_frequency_weights_at_the_ends_and_the_cutoff():
    shares = torch.tensor([0.0, 1e-30, 0.05, 0.1, 0.2, 1.0], dtype=torch.float64)
    weights = frequency_weights(shares, 0.1, 10.0)
    assert weights[0] == 0
    assert weights[1] < 1e-80
    assert float(weights[3]) == pytest.approx(0.5, rel=1e-12)
    assert weights[5] == 1
    assert (weights.diff() >= 0).all()
    assert torch.isfinite(weights).all()


def test_frequencies_are_refreshed_every_n_batches():
    frequencies = DocumentFrequencies(2, refresh=3, momentum=0.25)
    held, none = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    frequencies.observe(held)
    assert frequencies.shares.tolist() == [1, 0]  # the first batch counts at once
    frequencies.observe(none)
    frequencies.observe(none)
    assert frequencies.shares.tolist() == [1, 0]
    frequencies.observe(torch.tensor([[0.0, 2.0], [0.5, 0.0]]))
    # counted: term 0 in 1 of 4 documents, term 1 in 1 of 4.
    np.testing.assert_allclose(frequencies.shares, [0.25 + 0.75 * 0.25, 0.75 * 0.25])


def test_document_frequencies_resume_exactly():
    batches = [torch.from_numpy(sparse_weights(seed=seed)).float() for seed in range(12)]
    unbroken = DFFLOPS(7, refresh=4, momentum=0.5)
    expected = [float(unbroken(batch)) for batch in batches]
    broken = DFFLOPS(7, refresh=4, momentum=0.5)
    got = [float(broken(batch)) for batch in batches[:6]]
    resumed = DFFLOPS(7, refresh=4, momentum=0.5)
    resumed.load_state_dict(broken.state_dict())
    assert got + [float(resumed(batch)) for batch in batches[6:]] == expected


def test_nothing_is_counted_in_evaluation():
    loss = DFFLOPS(7).eval()
    loss(torch.from_numpy(sparse_weights()))
    assert (loss.frequencies.shares == 0).all()


def test_df_flops_leaves_rare_terms_and_cuts_frequent_ones():
    loss = DFFLOPS(2, alpha=0.1).eval()
    loss.frequencies.set_frequencies(torch.tensor([10, 800]), 1000)
    weights = torch.ones((4, 2), requires_grad=True)
    loss(weights).backward()
    assert (weights.grad[:, 0] < 1e-4).all()
    assert (weights.grad[:, 1] > 0.4).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: FLOPS(group_size=0),
        lambda: L0MaskedFLOPS(threshold=-1),
        lambda: AntiCollapse(epsilon=0),
        lambda: DFFLOPS(3, alpha=1.0),
        lambda: DFFLOPS(3, beta=0.0),
        lambda: DFFLOPS(3, refresh=0),
        lambda: DFFLOPS(3, momentum=1.0),
        lambda: DFFLOPS(3, group_size=0),
        lambda: IDFAwareFLOPS(torch.tensor([1.0, torch.nan])),
        lambda: IDFAwareFLOPS(torch.ones(3), group_size=0),
        lambda: IDFAwareFLOPS(torch.ones(3), "inverse", offset=0),
        lambda: IDFAwareFLOPS(torch.ones(3), "other"),
    ],
)
def test_impossible_settings(make):
    with pytest.raises(UserError):
        make()
