from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import lsr
from lsr.cli.main import main
from lsr.errors import UserError
from lsr.training.config import parse_config
from lsr.training.run import TrainReport, train

Values = Callable[..., dict[str, Any]]


def run(values: dict[str, Any], output: Path, lines: list[str] | None = None, **options: Any) -> TrainReport:
    said = [] if lines is None else lines
    return train(parse_config(values), output, values=values, report=said.append, **options)


def weights_at(output: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(output / "training" / "checkpoints" / f"checkpoint-{step}" / "model.safetensors")


@pytest.mark.parametrize("settings", [{}, {"accumulation": 2, "cache_chunk": 3}])
def test_a_resumed_run_equals_an_unbroken_one_bit_by_bit(
    values: Values, tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = values(checkpoint_every=4, keep_checkpoints=5, **settings)
    # Dropout uses random numbers, whose state must come back as well.
    config = Path(whole["model"]["backbone"], "config.json")
    dropping = json.loads(config.read_text()) | {"hidden_dropout_prob": 0.1}
    backbone = tmp_path / "backbone"
    backbone.mkdir()
    for file in config.parent.iterdir():
        (backbone / file.name).write_bytes(file.read_bytes())
    (backbone / "config.json").write_text(json.dumps(dropping))
    whole["model"]["backbone"] = str(backbone)
    run(whole, tmp_path / "unbroken")

    from lsr.training import trainer

    class Killed(Exception):
        pass

    original = trainer.SparseTrainer.training_step

    def dying(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 6:
            raise Killed
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.SparseTrainer, "training_step", dying)
        with pytest.raises(Killed):
            run(whole, tmp_path / "broken")
    lines: list[str] = []
    run(whole, tmp_path / "broken", lines, resume=True)
    assert any("going on from" in line for line in lines)
    unbroken, broken = weights_at(tmp_path / "unbroken", 8), weights_at(tmp_path / "broken", 8)
    assert unbroken.keys() == broken.keys()
    assert all(torch.equal(unbroken[name], broken[name]) for name in unbroken)
    assert (tmp_path / "unbroken/training/log.csv").read_text() == (
        tmp_path / "broken/training/log.csv"
    ).read_text()


def test_the_same_seed_gives_the_same_model_and_another_seed_another(values: Values, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(values(seed=seed, checkpoint_every=8), tmp_path / name)
    a, b, c = (weights_at(tmp_path / name, 8) for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_training_learns_logs_and_leaves_an_encoder(values: Values, tmp_path: Path) -> None:
    whole = values(steps=60, log_every=10, learning_rate=3e-3)
    whole["model"]["query"] = {"kind": "idf"}
    report = run(whole, tmp_path / "out")
    with open(tmp_path / "out/training/log.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["loss/infonce"]) < 0.7 * float(rows[0]["loss/infonce"])
    assert {"document_terms", "query_terms", "flops", "lambda/documents/flops"} <= rows[0].keys()
    assert report.steps == 60
    assert (tmp_path / "out/training/log.png").stat().st_size > 1000
    assert list((tmp_path / "out/training/tensorboard").iterdir())
    encoder = lsr.load_encoder(tmp_path / "out")
    assert encoder.encode_documents(["wordas wordbt"]).nnz > 0
    # The IDF of the training documents.
    weights = encoder.encode_queries(["wordas wordbt"])
    assert weights.nnz == 2
    assert (weights.data > 1.1).all()


def test_early_stopping_on_a_dev_collection(values: Values, tmp_path: Path, pairs_file: Path) -> None:
    dev = tmp_path / "dev"
    (dev / "qrels").mkdir(parents=True)
    pairs = [json.loads(line) for line in pairs_file.read_text().splitlines()]
    with open(dev / "corpus.jsonl", "w") as corpus, open(dev / "queries.jsonl", "w") as queries:
        for number, pair in enumerate(pairs):
            corpus.write(json.dumps({"_id": f"d{number}", "text": pair["positive"]}) + "\n")
            queries.write(json.dumps({"_id": f"q{number}", "text": pair["query"]}) + "\n")
    judgements = "".join(f"q{number}\td{number}\t1\n" for number in range(len(pairs)))
    (dev / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judgements)
    lines: list[str] = []
    # Nothing is learned, so the first evaluation stays the best.
    settings = values(steps=20, checkpoint_every=2, patience=2, dev=str(dev), learning_rate=0.0)
    report = run(settings, tmp_path / "out", lines)
    assert report.steps == 6
    assert report.dev is not None
    assert 0 < report.dev <= 1
    assert any("dev nDCG@10" in line for line in lines)


def test_a_collapsed_start_stops_with_advice_and_can_be_skipped(
    values: Values, tmp_path: Path, backbone: Path
) -> None:
    from transformers import BertForMaskedLM

    whole = values(steps=1)
    model = BertForMaskedLM.from_pretrained(backbone)
    for name, bias in (("dense", 50.0), ("empty", -500.0)):
        with torch.no_grad():
            model.cls.predictions.bias.fill_(bias)
        folder = tmp_path / name
        model.save_pretrained(folder)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            (folder / file).write_bytes((backbone / file).read_bytes())
        whole["model"]["backbone"] = str(folder)
        message = "same dense vector" if name == "dense" else "no term at all"
        with pytest.raises(UserError, match=message):
            run(whole, tmp_path / f"{name}-out")
        whole["training"]["check_initialisation"] = False
        run(whole, tmp_path / f"{name}-skipped")
        whole["training"]["check_initialisation"] = True


def test_a_wanted_number_of_terms_at_the_start(values: Values, tmp_path: Path) -> None:
    lines: list[str] = []
    run(values(steps=1, start_terms=10), tmp_path / "out", lines)
    start = next(line for line in lines if line.startswith("start:"))
    assert 7 <= float(start.split()[1]) <= 13


def test_teachers_in_the_loop(values: Values, tmp_path: Path) -> None:
    whole = values(steps=2)
    whole["teachers"] = [{"kind": "bm25"}]
    whole["losses"]["ranking"] = {"kl": {"over": "batch"}, "margin-mse": 0.1}
    assert run(whole, tmp_path / "in-batch").steps == 2
    whole["distillation"] = {"score": "candidates", "scale": 5}
    whole["losses"]["ranking"] = "kl"
    whole["teachers"].append({"kind": "sparse", "model": str(tmp_path / "in-batch")})
    assert run(whole, tmp_path / "candidates").steps == 2


def test_the_command(values: Values, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import yaml

    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(values(steps=50)))
    out = str(tmp_path / "out")
    assert main(["train", str(config), "-o", out, "--set", "training.steps=2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 2
    assert main(["train", str(config), "-o", out]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main(["train", str(tmp_path / "none.yaml"), "-o", out]) == 2
    assert "neither a YAML file nor a preset" in capsys.readouterr().err
