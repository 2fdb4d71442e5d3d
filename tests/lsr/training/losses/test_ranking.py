from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lsr.errors import UserError
from lsr.training.batch import ScoredBatch
from lsr.training.losses.combined import CombinedRankingLoss
from lsr.training.losses.contrastive import InBatchPairwiseNLL, InfoNCE, NegativeLikelihood, PairwiseNLL
from lsr.training.losses.distillation import KLDivergence, MarginMSE

NAN = math.nan


def batch_of(scores, **changes):
    """Four queries, nine documents; query 2 lacks a negative, query 3 shares the positive of query 0."""
    batch = ScoredBatch(
        scores,
        positives=torch.tensor([0, 3, 5, 0]),
        candidates=torch.tensor([[0, 1, 2], [3, 4, 0], [5, 6, -1], [0, 7, 8]]),
        teacher=torch.tensor([[9.0, 4, 8.5], [3, 1, NAN], [7, 6.5, 2], [NAN, 1, 2]]).to(scores.dtype),
        in_batch_teacher=torch.from_numpy(np.random.default_rng(5).normal(3, 2, (4, 9))).to(scores.dtype),
    )
    return batch._replace(**changes)


def random_scores(seed=3):
    return torch.from_numpy(np.random.default_rng(seed).normal(2, 3, size=(4, 9)))


def negatives_of(batch, q, negatives, margin=None):
    positives = batch.positives.tolist()
    own = [c for c in batch.candidates[q].tolist() if c >= 0]
    chosen = []
    for d in range(batch.scores.shape[1]):
        if d == positives[q]:
            continue
        others_positive = d in positives
        if not {
            "all": True,
            "own": d in own,
            "others-positives": d in own or others_positive,
            "others-negatives": d in own or not others_positive,
        }[negatives]:
            continue
        if margin is not None:
            if batch.in_batch_teacher is not None:
                teacher = batch.in_batch_teacher[q]
                if teacher[d] >= teacher[positives[q]] - margin:
                    continue
            elif d in own:
                teacher = batch.teacher[q]
                if teacher[own.index(d)] >= teacher[0] - margin:
                    continue
        chosen.append(d)
    return chosen


def infonce_reference(batch, temperature=1.0, negatives="all", symmetric=False, margin=None):
    scores, positives = batch.scores.tolist(), batch.positives.tolist()
    losses, other_way = [], []
    for q, p in enumerate(positives):
        compared = [p, *negatives_of(batch, q, negatives, margin)]
        total = sum(math.exp(scores[q][d] / temperature) for d in compared)
        losses.append(math.log(total) - scores[q][p] / temperature)
        rivals = [r for r in range(len(positives)) if r == q or positives[r] != p]
        total = sum(math.exp(scores[r][p] / temperature) for r in rivals)
        other_way.append(math.log(total) - scores[q][p] / temperature)
    loss = np.mean(losses)
    return (loss + np.mean(other_way)) / 2 if symmetric else loss


def negative_likelihood_reference(batch, temperature=1.0):
    losses = []
    for q in range(len(batch.scores)):
        p = float(batch.scores[q, batch.positives[q]]) / temperature
        for d in batch.candidates[q, 1:].tolist():
            if d >= 0:
                n = float(batch.scores[q, d]) / temperature
                losses.append(-math.log(math.exp(p) / (math.exp(p) + math.exp(n))))
    return np.mean(losses)


def rated_lists(batch, over):
    """Per query: (student, teacher, is positive) for each rated document."""
    for q in range(len(batch.scores)):
        if over == "batch":
            columns = range(batch.scores.shape[1])
            teacher = batch.in_batch_teacher[q].tolist()
        else:
            columns = batch.candidates[q].tolist()
            teacher = batch.teacher[q].tolist()
        positive = int(batch.positives[q])
        yield [
            (float(batch.scores[q, d]), t, d == positive)
            for d, t in zip(columns, teacher, strict=True)
            if d >= 0 and not math.isnan(t)
        ]


def margin_mse_reference(batch, scale=1.0, over="candidates"):
    losses = []
    for documents in rated_lists(batch, over):
        for s_positive, t_positive, is_positive in documents:
            if is_positive:
                losses += [
                    ((s_positive - s) - scale * (t_positive - t)) ** 2
                    for s, t, positive in documents
                    if not positive
                ]
    return np.mean(losses)


def kl_reference(batch, temperature=1.0, teacher_temperature=None, scale=1.0, over="candidates"):
    teacher_temperature = teacher_temperature or temperature
    losses = []
    for documents in rated_lists(batch, over):
        if len(documents) < 2:
            continue
        student = np.array([math.exp(s / temperature) for s, _, _ in documents])
        teacher = np.array([math.exp(t / teacher_temperature) for _, t, _ in documents])
        student, teacher = student / student.sum(), teacher / teacher.sum()
        losses.append(sum(t * (math.log(t) - math.log(s)) for s, t in zip(student, teacher, strict=True)))
    return scale * np.mean(losses)


CASES = {
    "infonce": (InfoNCE(), infonce_reference),
    "temperature": (InfoNCE(temperature=0.5), lambda b: infonce_reference(b, 0.5)),
    "symmetric": (InfoNCE(symmetric=True), lambda b: infonce_reference(b, symmetric=True)),
    "opensearch": (
        InfoNCE(negatives="others-negatives"),
        lambda b: infonce_reference(b, negatives="others-negatives"),
    ),
    "margin": (InfoNCE(false_negative_margin=1.0), lambda b: infonce_reference(b, margin=1.0)),
    "pairwise-nll": (PairwiseNLL(), lambda b: infonce_reference(b, negatives="own")),
    "splade-v1": (InBatchPairwiseNLL(), lambda b: infonce_reference(b, negatives="others-positives")),
    "negative-likelihood": (NegativeLikelihood(2.0), lambda b: negative_likelihood_reference(b, 2.0)),
    "margin-mse": (MarginMSE(), margin_mse_reference),
    "margin-mse-batch": (
        MarginMSE(scale=2.0, over="batch"),
        lambda b: margin_mse_reference(b, 2.0, "batch"),
    ),
    "kl": (KLDivergence(), kl_reference),
    "kl-settings": (
        KLDivergence(temperature=2.0, teacher_temperature=0.5, scale=4.0),
        lambda b: kl_reference(b, 2.0, 0.5, 4.0),
    ),
    "kl-batch": (KLDivergence(over="batch"), lambda b: kl_reference(b, over="batch")),
}


@pytest.mark.parametrize("name", CASES)
def test_the_formula_in_float64(name):
    loss, reference = CASES[name]
    batch = batch_of(random_scores())
    got = loss(batch)
    assert got.dtype == torch.float64
    assert float(got) == pytest.approx(reference(batch), rel=1e-12)
    assert float(loss(batch_of(random_scores().float()))) == pytest.approx(reference(batch), rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_the_gradient(name):
    scores = random_scores().requires_grad_()
    assert torch.autograd.gradcheck(lambda free: CASES[name][0](batch_of(free)), (scores,))


@pytest.mark.parametrize("name", CASES)
def test_large_scores_stay_finite(name):
    scores = (random_scores().float() * 1000).requires_grad_()
    loss = CASES[name][0](batch_of(scores))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(scores.grad).all()


@pytest.mark.parametrize("name", CASES)
def test_one_query_with_its_positive_alone(name):
    scores = torch.tensor([[2.0]], requires_grad=True)
    batch = ScoredBatch(
        scores,
        positives=torch.tensor([0]),
        candidates=torch.tensor([[0, -1]]),
        teacher=torch.tensor([[1.0, NAN]]),
        in_batch_teacher=torch.tensor([[1.0]]),
    )
    loss = CASES[name][0](batch)
    loss.backward()
    assert loss == 0
    assert (scores.grad == 0).all()


@pytest.mark.parametrize("name", CASES)
def test_no_queries(name):
    scores = torch.zeros((0, 3), requires_grad=True)
    batch = ScoredBatch(
        scores,
        positives=torch.zeros(0, dtype=torch.int64),
        candidates=torch.zeros((0, 2), dtype=torch.int64),
        teacher=torch.zeros((0, 2)),
        in_batch_teacher=torch.zeros((0, 3)),
    )
    loss = CASES[name][0](batch)
    loss.backward()
    assert loss == 0


@pytest.mark.parametrize("loss", [MarginMSE(), KLDivergence()])
def test_a_teacher_that_rated_nothing(loss):
    scores = random_scores().requires_grad_()
    got = loss(batch_of(scores, teacher=torch.full((4, 3), NAN)))
    got.backward()
    assert got == 0
    assert (scores.grad == 0).all()


@pytest.mark.parametrize("loss", [MarginMSE(), KLDivergence(), InfoNCE(false_negative_margin=0.0)])
def test_a_missing_teacher_is_a_users_mistake(loss):
    with pytest.raises(UserError, match="teacher"):
        loss(batch_of(random_scores(), teacher=None, in_batch_teacher=None))


def test_false_negatives_by_candidate_scores():
    batch = batch_of(random_scores(), in_batch_teacher=None)
    loss = InfoNCE(false_negative_margin=1.0)
    # Document 2 is within 1 of query 0's positive, 6 of query 2's; the rest are rated lower or not.
    changed = random_scores()
    changed[0, 2] += 50
    changed[2, 6] += 50
    assert float(loss(batch)) == pytest.approx(infonce_reference(batch, margin=1.0), rel=1e-12)
    assert float(loss(batch_of(changed, in_batch_teacher=None))) == pytest.approx(float(loss(batch)))


def test_distillation_is_zero_for_the_teachers_own_scores():
    teacher = torch.from_numpy(np.random.default_rng(5).normal(3, 2, (4, 9)))
    batch = batch_of(teacher + 7, in_batch_teacher=teacher)
    assert float(KLDivergence(over="batch")(batch)) == pytest.approx(0, abs=1e-12)
    assert float(MarginMSE(over="batch")(batch)) == pytest.approx(0, abs=1e-12)


def test_a_sum_reports_its_parts():
    losses = {"kl": KLDivergence(), "margin-mse": MarginMSE()}
    scores = random_scores().requires_grad_()
    total, parts, weights = CombinedRankingLoss(losses, {"kl": 1.0, "margin-mse": 0.05})(batch_of(scores))
    assert weights == {"kl": 1.0, "margin-mse": 0.05}
    for name, loss in losses.items():
        assert parts[name] == loss(batch_of(scores))
        assert not parts[name].requires_grad
    assert total.item() == pytest.approx(float(parts["kl"]) + 0.05 * float(parts["margin-mse"]), rel=1e-12)
    total.backward()
    assert scores.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: InfoNCE(temperature=0),
        lambda: InfoNCE(negatives="some"),
        lambda: KLDivergence(over="everything"),
        lambda: KLDivergence(teacher_temperature=-1.0),
        lambda: MarginMSE(scale=0.0),
        lambda: NegativeLikelihood(temperature=NAN),
        lambda: CombinedRankingLoss({}, {}),
    ],
)
def test_impossible_settings(make):
    with pytest.raises(UserError):
        make()
