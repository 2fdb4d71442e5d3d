"""One process with the whole batch and two with a part each: the same loss and gradients.

The file is also what each of the processes runs: `python test_gather.py FOLDER RANK PROCESSES`.
"""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from lsr.training.batch import ScoredBatch
from lsr.training.losses.gather import gather_batch, gather_rows, gather_with_gradient, processes
from lsr.training.losses.registry import build_ranking_loss, build_sparsity_penalty

RANKING = {
    "infonce": {"symmetric": True, "temperature": 5},
    "others": {"name": "infonce", "negatives": "others-negatives"},
    "kl": 1,
    "margin-mse": 0.05,
}
SPARSITY = {
    "queries": {"l1": 0.1, "anti-collapse": 1},
    "documents": {
        "flops": 0.5,
        "l0-flops": {"weight": 0.3, "threshold": 9},
        "df-flops": {"weight": 0.7, "beta": 1.5},
        "idf-flops": {"weight": 0.2, "reading": "matching"},
    },
}
FEATURES, VOCABULARY = 6, 20
# Queries and documents of each process: unequal, with candidate lists of unequal width.
QUERIES, DOCUMENTS = (3, 2), (7, 4)
LISTS = (
    ([[0, 1, 2], [3, 4, -1], [5, 6, 0]], [[5.0, 2, 1], [4, 3.5, math.nan], [6, math.nan, 2]]),
    ([[0, 2], [3, 1]], [[3.0, 1], [math.nan, 4]]),
)


class Encoders(nn.Module):
    """Two small encoders in one module, so that one forward pass is one step of DDP."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.query = nn.Linear(FEATURES, VOCABULARY)
        self.document = nn.Linear(FEATURES, VOCABULARY)

    def forward(self, queries, documents):
        return self.query(queries).relu().log1p(), self.document(documents).relu().log1p()


def inputs(rank):
    """Features and lists of one process; rank None is the whole batch in one."""
    torch.manual_seed(9)
    queries, documents = torch.randn(5, FEATURES), torch.randn(11, FEATURES)
    if rank is not None:
        candidates, teacher = map(torch.tensor, LISTS[rank])
        q, d = sum(QUERIES[:rank]), sum(DOCUMENTS[:rank])
        return queries[q : q + QUERIES[rank]], documents[d : d + DOCUMENTS[rank]], candidates, teacher
    candidates = torch.tensor([*LISTS[0][0], [7, 9, -1], [10, 8, -1]])
    teacher = torch.tensor([*LISTS[0][1], [3, 1, math.nan], [math.nan, 4, math.nan]])
    return queries, documents, candidates, teacher


def whole_loss(ranking, sparsity, batch, queries, documents):
    return ranking(batch).total + sparsity(0, queries, documents).total


def losses():
    idf = torch.linspace(0.1, 2, VOCABULARY)
    return build_ranking_loss(RANKING), build_sparsity_penalty(SPARSITY, idf=idf, vocabulary_size=VOCABULARY)


def step(model, rank, how):
    """Return the loss and the gradients of one step."""
    model.zero_grad()
    queries, documents, candidates, teacher = inputs(rank)
    query_weights, document_weights = model(queries, documents)
    positives = candidates[:, 0]
    if how == "batch":
        loss = whole_loss(
            *losses(), *gather_batch(query_weights, document_weights, positives, candidates, teacher)
        )
    elif how == "summed":
        # The same by the gather that sums gradients, and everything else by hand.
        offset = 0 if not rank else sum(DOCUMENTS[:rank])
        queries_of_all = gather_with_gradient(query_weights)
        documents_of_all = gather_with_gradient(document_weights)
        candidates = nn.functional.pad(candidates, (0, 3 - candidates.shape[1]), value=-1)
        teacher = nn.functional.pad(teacher, (0, 3 - teacher.shape[1]), value=math.nan)
        candidates = gather_rows(torch.where(candidates < 0, -1, candidates + offset))
        batch = ScoredBatch(
            queries_of_all @ documents_of_all.t(),
            gather_rows(positives + offset),
            candidates,
            gather_rows(teacher),
        )
        loss = whole_loss(*losses(), batch, queries_of_all, documents_of_all)
    else:
        # Every process ranks its own queries against all documents: the losses differ, and only a
        # gather that sums gradients is right. Each process's sum counts as its share of the mean.
        offset = 0 if not rank else sum(DOCUMENTS[:rank])
        scores = query_weights @ gather_with_gradient(document_weights).t()
        share = nn.functional.cross_entropy(scores, positives + offset, reduction="sum") / 5
        loss = share * processes()
    loss.backward()
    gradients = {name.removeprefix("module."): p.grad.clone() for name, p in model.named_parameters()}
    return loss.detach(), gradients


def run(folder, rank, count):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=count,
        timeout=timedelta(seconds=60),
    )
    model = nn.parallel.DistributedDataParallel(Encoders())
    results = {how: step(model, rank, how) for how in ("batch", "summed", "own queries")}
    uneven = gather_rows(torch.arange(rank * 3))
    none = gather_with_gradient(torch.full((rank * 2, 1), 5.0, requires_grad=True))
    torch.save({"results": results, "uneven": uneven, "none": none.detach()}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    commands = [[sys.executable, __file__, str(folder), str(rank), "2"] for rank in range(2)]
    started = [subprocess.Popen(c, stderr=subprocess.PIPE, text=True) for c in commands]
    try:
        for process in started:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
    finally:
        for process in started:
            process.kill()
    return [torch.load(Path(folder) / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("how", ["batch", "summed", "own queries"])
def test_one_process_and_two_give_the_same_loss_and_gradients(of_two, how):
    loss, gradients = step(Encoders(), None, how)
    shares = [results["results"][how][0] for results in of_two]
    # Processes that rank their own queries see their share of the loss, averaged as gradients are.
    torch.testing.assert_close(sum(shares) / 2, loss, rtol=1e-5, atol=0)
    for results in of_two:
        got = results["results"][how][1]
        assert got.keys() == gradients.keys()
        for name, gradient in gradients.items():
            error = (got[name] - gradient).norm() / gradient.norm()
            assert error < 1e-5, name
            torch.testing.assert_close(
                got[name], gradient, rtol=1e-5, atol=1e-6 * float(gradient.abs().max())
            )


def test_every_process_sees_the_whole_loss(of_two):
    first, second = (results["results"]["batch"][0] for results in of_two)
    assert first == second


def test_processes_may_have_different_numbers_of_rows_or_none(of_two):
    for results in of_two:
        assert results["uneven"].tolist() == [0, 1, 2]
        assert results["none"].tolist() == [[5], [5]]


def test_every_loss_here_has_a_part_in_the_gradient():
    # A comparison of two zeros would prove nothing.
    model = Encoders()
    queries, documents, candidates, teacher = inputs(None)
    batch, q, d = gather_batch(*model(queries, documents), candidates[:, 0], candidates, teacher)
    ranking, sparsity = losses()
    parts = {**ranking(batch).parts, **sparsity(0, q, d).parts}
    assert all(part > 1e-4 for part in parts.values()), parts


def test_one_process_gathers_nothing():
    tensor = torch.ones((2, 3), requires_grad=True)
    assert gather_with_gradient(tensor) is tensor
    assert gather_rows(tensor) is tensor


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
