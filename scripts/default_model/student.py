"""The model that is trained: a BERT masked LM as document encoder, a table of factors as query encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lsr.composition.sparse_head import sparse_head

from .dense import Texts


class Student(nn.Module):
    """Document side: logits, maximum over tokens, ln(1 + ln(1 + relu)); query side: IDF times a factor.

    `kept` lists the vocabulary rows that are scored for every text; a term outside them has a weight only
    where it is one of the text's own pieces, from the states at its places. Special tokens are 0.
    """

    def __init__(self, backbone: Path, layers: Sequence[int] | None, kept: torch.Tensor, special: list[int]):
        super().__init__()
        from transformers import AutoModel, BertConfig, BertForMaskedLM

        start = AutoModel.from_pretrained(str(backbone), add_pooling_layer=False)
        config = BertConfig(**{**start.config.to_dict(), "architectures": ["BertForMaskedLM"]})
        # Minutes of training leave nothing to overfit.
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
        chosen = list(range(config.num_hidden_layers)) if layers is None else list(layers)
        config.num_hidden_layers = len(chosen)
        self.model = BertForMaskedLM(config)
        weights: dict[str, Any] = {}
        for name, value in start.state_dict().items():
            if name.startswith("encoder.layer."):
                _, _, number, rest = name.split(".", 3)
                if int(number) not in chosen:
                    continue
                name = f"encoder.layer.{chosen.index(int(number))}.{rest}"
            weights[name] = value
        self.model.bert.load_state_dict(weights, strict=False)
        transform = self.model.cls.predictions.transform
        with torch.no_grad():
            transform.dense.weight.copy_(torch.eye(config.hidden_size))
            transform.dense.bias.zero_()
        self.register_buffer("kept", kept)
        outside = torch.ones(config.vocab_size, dtype=torch.bool)
        outside[kept] = False
        self.register_buffer("outside", outside)
        never = torch.zeros(config.vocab_size, dtype=torch.bool)
        never[special] = True
        self.register_buffer("special", never)
        self.log_factor = nn.Parameter(torch.zeros(config.vocab_size))
        self.log_scale = nn.Parameter(torch.tensor(0.0))

    def states(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the head's inputs for padded tokens, shape (texts, length, width)."""
        hidden = self.model.bert(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
        result: torch.Tensor = self.model.cls.predictions.transform(hidden)
        return result

    def documents(self, texts: Texts, rows: torch.Tensor, pieces: int, limit: int | None) -> torch.Tensor:
        """Return term weights, shape (rows, vocabulary), in the order of `rows`."""
        weight = self.model.bert.embeddings.word_embeddings.weight
        bias = self.model.cls.predictions.bias
        whole = len(self.kept) == len(weight)
        head, head_bias = (weight, bias) if whole else (weight[self.kept], bias[self.kept])
        order = torch.argsort(texts.lengths[rows])
        parts = []
        for part in order.chunk(pieces):
            tokens, mask = texts.padded(rows[part], limit=limit)
            states = self.states(tokens, mask)
            found = sparse_head(states[mask], mask.sum(1), head, head_bias, activation="double-log1p")
            if not whole:
                own = ((states * weight[tokens]).sum(2) + bias[tokens]).float().relu().log1p().log1p()
                own = own.masked_fill(~(mask & self.outside[tokens]), 0)
                found = found.new_zeros(len(part), len(weight)).index_copy(1, self.kept, found)
                found = found.scatter_reduce(1, tokens, own, "amax")
            parts.append(found)
        return torch.cat(parts)[torch.argsort(order)].masked_fill(self.special, 0)

    def query_weights(self, idf: torch.Tensor) -> torch.Tensor:
        """Return the weight of each term in a query, shape (vocabulary,)."""
        return idf * self.log_factor.clamp(-2, 2).exp()


def bags(texts: Texts, rows: torch.Tensor, weights: torch.Tensor, special: list[int]) -> torch.Tensor:
    """Return queries as term weights, shape (rows, vocabulary): each distinct piece has its weight."""
    tokens, mask = texts.padded(rows)
    for token in special:
        mask = mask & (tokens != token)
    present = torch.zeros(len(rows), len(weights), device=weights.device)
    present.scatter_reduce_(1, tokens, mask.float(), "amax")
    return present * weights
