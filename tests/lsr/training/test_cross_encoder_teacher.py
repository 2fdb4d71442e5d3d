"""A cross-encoder teacher gives the logits of plain transformers, of the wanted pairs alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from lsr.errors import UserError
from lsr.training.teachers.cross_encoder import CrossEncoderTeacher

QUERIES = ["wordas wordbt", "worddz"]
DOCUMENTS = ["wordas wordcu worddz", "wordhz", "wordbt wordbt"]


def save(folder: Path, backbone: Path, outputs: int) -> Path:
    torch.manual_seed(0)
    config = BertConfig.from_pretrained(backbone, num_labels=outputs)
    BertForSequenceClassification(config).eval().save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((backbone / name).read_bytes())
    return folder


def test_scores_equal_plain_logits(backbone: Path, tmp_path: Path) -> None:
    folder = save(tmp_path / "cross", backbone, 1)
    wanted = np.array([[True, True, False], [False, True, True]])
    scores = CrossEncoderTeacher(str(folder), batch_size=2, device="cpu").score(QUERIES, DOCUMENTS, wanted)
    assert np.isnan(scores[~wanted]).all()
    model = BertForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for row, column in zip(*np.nonzero(wanted), strict=True):
        tokens = tokenizer(QUERIES[row], DOCUMENTS[column], return_tensors="pt")
        with torch.no_grad():
            logit = model(**tokens).logits.item()
        assert scores[row, column] == pytest.approx(logit, abs=1e-5)


def test_a_classifier_of_many_classes_is_refused(backbone: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="3 outputs"):
        CrossEncoderTeacher(str(save(tmp_path / "three", backbone, 3)), device="cpu")
