from __future__ import annotations

import io

import pytest
import torch

from lsr.errors import UserError
from lsr.training.batch import ScoredBatch
from lsr.training.losses.contrastive import InfoNCE
from lsr.training.losses.distillation import KLDivergence, MarginMSE
from lsr.training.losses.idf_flops import IDFAwareFLOPS
from lsr.training.losses.registry import (
    RANKING_LOSSES,
    SCHEDULES,
    SPARSITY_LOSSES,
    build_ranking_loss,
    build_schedule,
    build_sparsity_loss,
    build_sparsity_penalty,
    build_term_loss,
    ranking_loss,
    sparsity_loss,
)
from lsr.training.losses.sparsity import FLOPS, L0MaskedFLOPS
from lsr.training.schedules import Linear, Quadratic

BATCH = ScoredBatch(
    torch.tensor([[3.0, 1, 2]]), torch.tensor([0]), torch.tensor([[0, 1, 2]]), torch.tensor([[4.0, 0, 1]])
)


@pytest.mark.parametrize("name", RANKING_LOSSES)
def test_every_ranking_loss_by_name(name):
    loss = ranking_loss(name)
    total, parts, weights = build_ranking_loss(name)(BATCH)
    assert parts == {name: loss(BATCH)}
    assert weights == {name: 1.0}
    assert total == loss(BATCH)


@pytest.mark.parametrize("name", SPARSITY_LOSSES)
def test_every_sparsity_loss_by_name(name):
    loss = sparsity_loss(name, idf=torch.ones(3), vocabulary_size=3)
    assert torch.isfinite(loss(torch.ones((2, 3))))


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_by_name(name):
    options = {"terms": 3} if name == "target-terms" else {"weight": 1}
    if name in ("linear", "quadratic"):
        options["steps"] = 10
    assert build_schedule({"name": name, **options}).value(0) >= 0


def test_ranking_from_yaml():
    loss = build_ranking_loss(
        {
            "kl": 0.99,
            "margin-mse": {"weight": "5e-2", "scale": 2},
            "contrast": {"name": "infonce", "temperature": "5e-2", "symmetric": True},
        }
    )
    assert loss.weights == {"kl": 0.99, "margin-mse": 0.05, "contrast": 1.0}
    kl, mse, contrast = loss.losses.values()
    assert isinstance(kl, KLDivergence)
    assert isinstance(mse, MarginMSE)
    assert mse.scale == 2
    assert isinstance(contrast, InfoNCE)
    assert contrast.temperature == 0.05
    assert contrast.symmetric


def test_the_mix_of_splade_v3():
    assert build_ranking_loss("splade-v3").weights == {"kl": 1.0, "margin-mse": 0.05}


def test_sparsity_from_yaml():
    penalty = build_sparsity_penalty(
        {
            "queries": {"l1": 0.5},
            "documents": {
                "l0-flops": {
                    "weight": 0.08,
                    "threshold": 1,
                    "schedule": {"name": "quadratic", "steps": 40, "delay": 10},
                },
                "held": {"name": "flops", "schedule": {"name": "target-terms", "terms": 2, "start": 0.25}},
            },
        }
    )
    assert isinstance(penalty.schedules["documents"]["l0-flops"], Quadratic)
    assert isinstance(penalty.losses["documents"]["l0-flops"], L0MaskedFLOPS)
    assert isinstance(penalty.losses["documents"]["held"], FLOPS)
    queries, documents = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0], [2.0, 4.0]])
    total, parts, weights = penalty(30, queries, documents)
    assert parts == {"queries/l1": 3, "documents/l0-flops": 1 + 4, "documents/held": 1.5**2 + 4}
    assert weights == {
        "queries/l1": 0.5,
        "documents/l0-flops": pytest.approx(0.08 / 4),
        "documents/held": pytest.approx(0.25),
    }
    assert total.item() == pytest.approx(0.5 * 3 + 0.02 * 5 + 0.25 * 6.25)
    assert set(penalty(0, None, documents).parts) == {"documents/l0-flops", "documents/held"}


def test_a_penalty_of_nothing():
    total, parts, weights = build_sparsity_penalty({"queries": None})(
        3, torch.ones((1, 2)), torch.ones((1, 2))
    )
    assert total == 0
    assert parts == weights == {}


def test_a_penalty_resumes_exactly_from_a_file():
    config = {
        "documents": {
            "df-flops": {"refresh": 2, "schedule": {"name": "target-terms", "terms": 2}},
            "flops": {"weight": 1, "schedule": {"name": "linear", "steps": 9}},
        }
    }
    generator = torch.Generator().manual_seed(0)
    batches = [torch.rand((4, 5), generator=generator) - 0.4 for _ in range(10)]

    def run(penalty, steps):
        totals = []
        for step in steps:
            weights = batches[step].relu()
            totals.append(penalty(step, None, weights).total.item())
            penalty.observe(step, float("nan"), float((weights > 0).sum(1).float().mean()))
        return totals

    unbroken = run(build_sparsity_penalty(config, vocabulary_size=5), range(10))
    broken = build_sparsity_penalty(config, vocabulary_size=5)
    before = run(broken, range(5))
    file = io.BytesIO()
    torch.save(broken.state_dict(), file)
    file.seek(0)
    resumed = build_sparsity_penalty(config, vocabulary_size=5)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert before + run(resumed, range(5, 10)) == unbroken


def test_a_loss_that_is_off_adds_nothing_though_infinite():
    penalty = build_sparsity_penalty({"documents": {"l1": 0}})
    assert penalty(0, None, torch.tensor([[torch.inf]])).total == 0


def test_steps_as_a_share_of_training():
    schedule = build_schedule({"name": "linear", "weight": 1, "share": 0.25}, total_steps=1000)
    assert isinstance(schedule, Linear)
    assert schedule.steps == 250


def test_the_idf_table_comes_from_the_encoder():
    loss = build_sparsity_loss({"name": "idf-flops", "reading": "inverse"}, idf=torch.ones(3))
    assert isinstance(loss, IDFAwareFLOPS)
    assert loss.reading == "inverse"


def test_term_loss():
    assert build_term_loss({"name": "term-mse", "scale": 100}).scale == 100


@pytest.mark.parametrize(
    ("build", "config", "message"),
    [
        (build_ranking_loss, {"klll": 1}, "'klll' is unknown; choose infonce, .* or kl"),
        (build_ranking_loss, "klll", "'klll' is unknown"),
        (build_ranking_loss, {}, "no ranking loss"),
        (build_ranking_loss, {"kl": {"temp": 1}}, "no option 'temp'; choose temperature, .* or over"),
        (build_ranking_loss, {"kl": {"over": "all"}}, "over is 'all'; choose candidates or batch"),
        (build_ranking_loss, {"kl": {"scale": "big"}}, "scale is 'big'; it must be a number"),
        (build_ranking_loss, {"kl": "big"}, "weight of ranking loss 'kl' is 'big'"),
        (build_ranking_loss, {"infonce": {"symmetric": 1}}, "symmetric is 1; it must be true or false"),
        (build_ranking_loss, {"a.b": {"name": "kl"}}, "cannot be reported by this name"),
        (build_ranking_loss, {"items": {"name": "kl"}}, "cannot be reported by this name"),
        (build_sparsity_loss, {"name": "flop"}, "'flop' is unknown; choose flops, l1"),
        (build_sparsity_loss, {"group_size": 2}, "no name"),
        (build_sparsity_loss, {"name": "flops", "group_size": 1.5}, "must be a whole number"),
        (build_sparsity_loss, {"name": "flops", "idf": [1]}, "no option 'idf'; choose group_size"),
        (build_sparsity_loss, {"name": "idf-flops"}, "needs idf, which this encoder has not"),
        (build_sparsity_loss, {"name": "df-flops"}, "needs vocabulary size"),
        (build_schedule, {"name": "quadratic", "weight": 1}, "needs the option 'steps'"),
        (build_schedule, {"name": "quadratic", "weight": 1, "share": 0.5}, "give steps instead"),
        (build_schedule, {"name": "cubic"}, "'cubic' is unknown"),
        (build_sparsity_penalty, {"docs": {}}, "no side 'docs'; choose queries or documents"),
        (build_sparsity_penalty, {"documents": {"flops": {}}}, "needs the option 'weight'"),
        (build_term_loss, "mse", "'mse' is unknown; choose term-mse"),
    ],
)
def test_mistakes_name_the_choices(build, config, message):
    with pytest.raises(UserError, match=message):
        build(config)
