from __future__ import annotations

import pytest
import torch
import transformers
from torch.nn.functional import linear

from lsr.encoders.masked_lm import MaskedLanguageModel
from lsr.errors import UserError

SMALL = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
}
DISTIL = {
    "vocab_size": 97, "dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 48, "max_position_embeddings": 40
}  # fmt: skip
MODERN = {**SMALL, "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2}
ARCHITECTURES = [
    ("Bert", SMALL),
    ("DistilBert", DISTIL),
    ("Roberta", SMALL),
    ("XLMRoberta", SMALL),
    ("Camembert", SMALL),
    ("MPNet", SMALL),
    ("Electra", {**SMALL, "embedding_size": 16}),
    ("ModernBert", MODERN),
    ("DebertaV2", {**SMALL, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
    ("Albert", {**SMALL, "embedding_size": 16}),
]


def small_model(name, settings):
    torch.manual_seed(3)
    config = getattr(transformers, f"{name}Config")(**settings)
    return getattr(transformers, f"{name}ForMaskedLM")(config).eval()


@pytest.mark.parametrize(("name", "settings"), ARCHITECTURES, ids=[name for name, _ in ARCHITECTURES])
def test_states_and_projection_give_the_plain_logits(name, settings, tmp_path):
    plain = small_model(name, settings)
    plain.save_pretrained(tmp_path)
    model = MaskedLanguageModel.load(tmp_path)
    ids = torch.randint(5, 90, (3, 11))
    mask = torch.ones_like(ids)
    mask[0, 6:] = 0
    ids[0, 6:] = model.pad_token_id
    with torch.inference_mode():
        expected = plain(input_ids=ids, attention_mask=mask).logits
        got = linear(model.states(ids, mask), model.weight, model.bias)
    assert model.vocabulary_size == 97
    torch.testing.assert_close(got[mask.bool()], expected[mask.bool()], rtol=1e-5, atol=1e-6)
    with model.whole() as whole:
        torch.testing.assert_close(whole(input_ids=ids, attention_mask=mask).logits, expected)


def test_positions_that_a_model_has(tmp_path):
    assert MaskedLanguageModel(small_model("Bert", SMALL), "x").max_length == 40
    # RoBERTa's first position is behind the padding index.
    assert MaskedLanguageModel(small_model("Roberta", SMALL), "x").max_length == 38


def test_logits_changed_behind_the_projection_are_refused():
    model = small_model("Bert", SMALL)
    inner = model.cls.forward
    model.cls.forward = lambda states: torch.tanh(inner(states))
    with pytest.raises(UserError, match="plain projection"):
        MaskedLanguageModel(model, "capped")


def test_checkpoint_without_head_is_refused(tmp_path):
    transformers.BertModel(transformers.BertConfig(**SMALL)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="without its head"):
        MaskedLanguageModel.load(tmp_path)


def test_causal_model_is_refused(tmp_path):
    config = transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=50)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="masked language model"):
        MaskedLanguageModel.load(tmp_path)
