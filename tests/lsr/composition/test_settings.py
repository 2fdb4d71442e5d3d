"""Mistakes in the model section are told by their place and the choices there."""

from __future__ import annotations

import pytest

from lsr.composition.model import SparseModel
from lsr.composition.settings import ModelSettings
from lsr.errors import UserError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"documnt": {}}, "model: 'documnt' is not a setting; there are backbone, document, query"),
        ({"document": {"poolng": "max"}}, "model.document: 'poolng' is not a setting"),
        ({"document": {"pooling": "mean"}}, "model.document.pooling: 'mean' is not one of max, sum"),
        ({"document": {"top_k": "many"}}, "model.document.top_k: expected a whole number, found 'many'"),
        ({"document": {"top_k": 0}}, "top_k is 0; it must be at least 1"),
        ({"document": {"echo": 1}}, "model.document.echo: expected true or false, found 1"),
        ({"document": 3}, "model.document: expected settings by name, found 3"),
        ({"document": {"lora": {"rank": 0}}}, "lora: rank is 0"),
        ({"document": {"head": "token-mlp", "gate": "controller"}}, "gate: controller needs logits"),
        ({"document": {"head": "dense"}, "query": {"kind": "binary"}}, "query: kind: binary weighs tokens"),
        ({"query": {"kind": "separate"}}, "kind: separate and the settings of an encoder go together"),
        ({"query": {"kind": "same", "learnable": True}}, "learnable and idf belong to kind: idf"),
    ],
)
def test_mistakes(values, message):
    with pytest.raises(UserError, match=message):
        ModelSettings.from_dict(values)


def test_round_trip():
    values = {
        "backbone": "somewhere",
        "document": {"head": "causal-lm", "lora": {"rank": 4, "dropout": "1e-1", "targets": ["q_proj"]}},
        "query": {"kind": "separate", "encoder": {"head": "token-mlp", "layers": 2}},
    }
    settings = ModelSettings.from_dict(values)
    assert settings.document.lora.dropout == 0.1
    assert ModelSettings.from_dict(settings.as_dict()) == settings


def test_missing_backbone_and_wrong_kind(folders):
    with pytest.raises(UserError, match="names no backbone"):
        SparseModel.from_settings(ModelSettings())
    with pytest.raises(UserError, match="there is no such folder"):
        SparseModel.from_settings(ModelSettings(backbone="/nowhere"))
    settings = ModelSettings.from_dict({"backbone": folders["mistral"], "document": {"head": "mlm"}})
    with pytest.raises(UserError, match="backbone for head: mlm"):
        SparseModel.from_settings(settings)


def test_lora_targets_that_are_not_there(folders):
    values = {"backbone": folders["bert"], "document": {"lora": {"targets": ["q_proj"]}}}
    with pytest.raises(UserError, match="none of the layers q_proj"):
        SparseModel.from_settings(ModelSettings.from_dict(values))
