from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from lsr.training.collation import collate
from lsr.training.losses.registry import build_ranking_loss, build_sparsity_penalty
from lsr.training.pairs import read_pairs
from lsr.training.run import build_model
from lsr.training.sharing import average_gradients, own_share
from lsr.training.step import BatchStep

Values = Callable[..., dict[str, Any]]


def gradients_of(
    values: dict[str, Any], pairs_file: Path, *, cache_chunk: int = 0, rows: int = 7
) -> dict[str, Any]:
    """Return the loss, the figures and all gradients of one batch."""
    torch.manual_seed(0)
    encoder = build_model(values["model"])
    penalty = build_sparsity_penalty(values["losses"]["sparsity"], total_steps=10)
    step = BatchStep(
        encoder, build_ranking_loss(values["losses"]["ranking"]), penalty, cache_chunk=cache_chunk
    )
    step.train()
    batch = collate(list(read_pairs(pairs_file))[:rows])
    result = step.run(batch, 5, lambda loss: loss.backward())
    average_gradients(step.module)
    gradients = {name: p.grad for name, p in step.module.named_parameters() if p.grad is not None}
    return {"loss": result.loss, "figures": result.figures, "gradients": gradients}


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    torch.testing.assert_close(one["loss"], other["loss"], rtol=1e-5, atol=0)
    assert one["figures"] == pytest.approx(other["figures"], rel=1e-5)
    assert one["gradients"].keys() == other["gradients"].keys()
    largest = max(float(gradient.abs().max()) for gradient in one["gradients"].values())
    assert largest > 0
    for name, gradient in one["gradients"].items():
        size = gradient.abs().max()
        assert (gradient - other["gradients"][name]).abs().max() <= 1e-5 * max(size, 1e-2 * largest), name


@pytest.mark.parametrize("chunk", [1, 3])
def test_gradient_caching_gives_the_gradients_of_the_whole_batch(
    values: Values, pairs_file: Path, chunk: int
) -> None:
    plain = gradients_of(values(), pairs_file)
    assert_same(plain, gradients_of(values(), pairs_file, cache_chunk=chunk))


@pytest.mark.parametrize(("chunk", "rows"), [(0, 7), (2, 7), (0, 1)])
def test_one_process_and_two_give_the_same_loss_and_gradients(
    values: Values, pairs_file: Path, tmp_path: Path, chunk: int, rows: int
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    task = {"port": port, "values": values(), "pairs": str(pairs_file), "chunk": chunk, "rows": rows}
    command = [sys.executable, __file__, json.dumps(task), str(tmp_path)]
    started = [
        subprocess.Popen([*command, str(rank)], stderr=subprocess.PIPE, text=True) for rank in range(2)
    ]
    errors = [process.communicate(timeout=100)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], errors
    alone = gradients_of(values(), pairs_file, rows=rows)
    for rank in range(2):
        assert_same(alone, torch.load(tmp_path / f"{rank}.pt"))


def test_one_process_has_the_whole_share() -> None:
    assert list(range(5))[own_share(5)] == [0, 1, 2, 3, 4]


def _one_of_two_processes(task: dict[str, Any], folder: Path, rank: int) -> None:
    """Compute the same as `gradients_of`, together with another process."""
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{task['port']}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    result = gradients_of(task["values"], Path(task["pairs"]), cache_chunk=task["chunk"], rows=task["rows"])
    torch.save(result, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    _one_of_two_processes(json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
