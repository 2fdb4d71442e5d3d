from __future__ import annotations

import json
import math

import pytest
import torch

from lsr.errors import UserError
from lsr.training.batch import ScoredBatch
from lsr.training.losses.distillation import MarginMSE
from lsr.training.losses.sparsity import FLOPS, active_terms
from lsr.training.schedules import Constant, Linear, Quadratic, TargetTerms


def test_constant():
    assert [Constant(0.5).value(step) for step in (0, 10)] == [0.5, 0.5]
    assert [Constant(0.5, delay=3).value(step) for step in (0, 2, 3)] == [0, 0, 0.5]


def test_linear_with_delay():
    schedule = Linear(8e-4, steps=20_000, delay=50_000)
    steps = [0, 50_000, 60_000, 70_000, 10**6]
    assert [schedule.value(step) for step in steps] == pytest.approx([0, 0, 4e-4, 8e-4, 8e-4])


def test_quadratic():
    schedule = Quadratic(0.5, steps=100)
    for step in (0, 1, 7, 50, 99, 100, 101, 1000):
        assert schedule.value(step) == pytest.approx(0.5 * (min(step, 100) / 100) ** 2, rel=1e-15)
    assert Quadratic(0.5, steps=100, delay=10).value(60) == pytest.approx(0.5 / 4)


def train(schedule, steps, seed=0):
    """Distil a dense teacher into term weights of 24 texts with FLOPS; return the terms at each step.

    One layer, shared by all texts, makes the weights, so that terms come and go as in an encoder.
    """
    torch.manual_seed(seed)
    texts = torch.nn.functional.normalize(torch.randn(24, 16))
    layer = torch.nn.Linear(16, 400)
    torch.nn.init.constant_(layer.bias, 0.5)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.01)
    columns = torch.arange(24)
    candidates = (columns[:, None] + columns) % 24
    teacher = 10 * (texts @ texts.t()).gather(1, candidates)
    terms = []
    for step in range(steps):
        weights = torch.log1p(layer(texts).relu())
        batch = ScoredBatch(weights @ weights.t(), columns, candidates, teacher)
        loss = MarginMSE()(batch) + schedule.value(step) * FLOPS()(weights)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        terms.append(float(active_terms(weights).float().mean()))
        schedule.observe(step, terms[-1])
    return terms


@pytest.mark.parametrize("wanted", [150, 60, 20])
def test_a_wanted_number_of_terms_is_reached_and_held(wanted):
    terms = train(TargetTerms(wanted, start=1e-3), 800)
    assert terms[0] > 1.5 * wanted
    assert sum(terms[-100:]) / 100 == pytest.approx(wanted, rel=0.05)
    assert all(abs(number / wanted - 1) < 0.1 for number in terms[-100:])


def test_a_resumed_controller_goes_on_exactly():
    generator = torch.Generator().manual_seed(1)
    observed = (400 * torch.rand(60, generator=generator)).tolist()

    def run(schedule, steps):
        values = []
        for step in steps:
            values.append(schedule.value(step))
            schedule.observe(step, observed[step])
        return values

    unbroken = run(TargetTerms(100), range(60))
    broken = TargetTerms(100)
    before = run(broken, range(25))
    resumed = TargetTerms(100)
    resumed.load_state_dict(json.loads(json.dumps(broken.state_dict())))
    assert before + run(resumed, range(25, 60)) == unbroken


def test_a_fresh_controller_starts_at_its_start_and_resumes_from_nothing_seen():
    fresh = TargetTerms(100, start=0.01)
    fresh.load_state_dict(fresh.state_dict())
    assert fresh.value(0) == pytest.approx(0.01)
    fresh.observe(0, 30_000)  # the first error does not make it jump
    assert 0.01 < fresh.value(1) < 0.011


def test_the_controller_stays_within_bounds():
    schedule = TargetTerms(100, gain=1.0, least=1e-3, most=10.0, start=1.0)
    for step in range(100):
        schedule.observe(step, 30_000)
    assert schedule.value(100) == pytest.approx(10)
    for step in range(200):
        schedule.observe(step, 0)
    assert schedule.value(200) == pytest.approx(1e-3)
    schedule.observe(201, math.nan)
    assert schedule.value(201) == pytest.approx(1e-3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Constant(-1),
        lambda: Constant(math.nan),
        lambda: Constant(1, delay=-1),
        lambda: Linear(1, steps=0),
        lambda: Quadratic(1, steps=5, delay=-1),
        lambda: TargetTerms(0),
        lambda: TargetTerms(10, start=0),
        lambda: TargetTerms(10, gain=0),
        lambda: TargetTerms(10, damping=-1),
        lambda: TargetTerms(10, smoothing=1),
    ],
)
def test_impossible_settings(make):
    with pytest.raises(UserError):
        make()
