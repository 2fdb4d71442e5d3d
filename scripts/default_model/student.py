"""The model that is trained: a BERT masked LM as document encoder; queries are looked up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from lsr.composition.sparse_head import sparse_head
from lsr.encoders.packed_weights import PACKED_FILE, read_packed

from .dense import Packed, Texts
from .lexical import Words
from .packed_bert import PackedBert


class Vocabulary(nn.Module):
    """What the pieces of a vocabulary are to the student.

    `term_of` (pieces,): the piece that stands for each; `content` (pieces,): whose states are pooled;
    `kept` (rows,): the pieces that expansion may reach, each standing for itself; `special`: ids that
    never have a weight.
    """

    def __init__(
        self, term_of: torch.Tensor, content: torch.Tensor, kept: torch.Tensor, special: Sequence[int]
    ) -> None:
        super().__init__()
        self.size = len(term_of)
        never = torch.zeros(self.size, dtype=torch.bool)
        never[list(special)] = True
        outside = ~never
        outside[kept] = False
        for name, value in {
            "term_of": term_of, "content": content, "kept": kept, "special": never, "outside": outside,
        }.items():  # fmt: skip
            self.register_buffer(name, value, persistent=False)
        self.term_of: torch.Tensor
        self.content: torch.Tensor
        self.kept: torch.Tensor
        self.special: torch.Tensor
        self.outside: torch.Tensor


class Student(nn.Module):
    """Document side: logits, maximum over content tokens, ln(1 + ln(1 + relu)), forms of a word joined.

    A piece outside `Vocabulary.kept` has a weight only where it stands itself, from the state there, and
    gives it to the term it belongs to. `log_scales` (tables,) make scores the teachers' logits.
    """

    def __init__(
        self,
        backbone: Path,
        layers: Sequence[int] | None,
        vocabulary: Vocabulary,
        tables: int,
        *,
        compiled: bool,
    ) -> None:
        super().__init__()
        from transformers import AutoModel, BertConfig, BertForMaskedLM

        start = AutoModel.from_pretrained(str(backbone), add_pooling_layer=False).float()
        config = BertConfig(**{**start.config.to_dict(), "architectures": ["BertForMaskedLM"]})
        # Minutes of training leave nothing to overfit.
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
        config.dtype = "float32"
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
        self.vocabulary = vocabulary
        self.log_scales = nn.Parameter(torch.full((tables,), 0.3).log())
        self._compiled = compiled

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint of the same shape: a folder of transformers', or a packed one."""
        if (folder / PACKED_FILE).is_file():
            state = read_packed(folder / PACKED_FILE)
        else:
            state = load_file(folder / "model.safetensors")
        missing, unknown = self.model.load_state_dict(
            {name: value.float() for name, value in state.items()}, strict=False
        )
        # Tied weights are saved once.
        if unknown or any(not name.startswith("cls.predictions.decoder") for name in missing):
            raise SystemExit(f"{folder} is no model of this shape: {[*missing, *unknown][:3]}")
        self.model.tie_weights()

    def states(self, texts: Packed) -> torch.Tensor:
        """Return the head's inputs, shape (tokens, width)."""
        # Made anew: a copy of the student must not go on with the original's parameters.
        body = PackedBert(self.model, compiled=self._compiled)
        result: torch.Tensor = self.model.cls.predictions.transform(body.states(texts))
        return result

    def documents(self, texts: Texts, rows: torch.Tensor, pieces: int, limit: int) -> torch.Tensor:
        """Return learned term weights, shape (rows, vocabulary), in the order of `rows`."""
        weight = self.model.bert.embeddings.word_embeddings.weight
        bias = self.model.cls.predictions.bias
        known = self.vocabulary
        head, head_bias = weight[known.kept], bias[known.kept]
        order = torch.argsort(texts.lengths[rows])
        parts = []
        for part in order.chunk(pieces):
            packed = texts.packed(rows[part], limit)
            pooled = known.content[packed.tokens].nonzero().flatten()
            states = self.states(packed)[pooled]
            tokens, owners = packed.tokens[pooled], packed.owners[pooled]
            lengths = torch.bincount(owners, minlength=len(part))
            found = sparse_head(states, lengths, head, head_bias, activation="double-log1p")
            spread = found.new_zeros(len(part), known.size).index_copy(1, known.kept, found)
            out = known.outside[tokens].nonzero().flatten()
            own = (states[out] * weight[tokens[out]]).sum(1).float() + bias[tokens[out]]
            own = own.relu().log1p().log1p()
            place = owners[out] * known.size + known.term_of[tokens[out]]
            spread = spread.flatten().scatter_reduce(0, place, own, "amax").view_as(spread)
            parts.append(spread)
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=order.device)
        return torch.cat(parts)[back].masked_fill(known.special, 0)


def asked_terms(texts: Texts, words: Words, rows: torch.Tensor, known: Vocabulary) -> torch.Tensor:
    """Return 1 for each term of queries, shape (rows, vocabulary): their pieces' and their words' terms."""
    tokens, mask = texts.padded(rows)
    mask = mask & ~known.special[tokens]
    present = torch.zeros(len(rows), known.size, device=tokens.device)
    present.scatter_reduce_(1, known.term_of[tokens], mask.float(), "amax")
    terms = words.asked_terms(rows)
    present.scatter_reduce_(1, terms.clamp(min=0), (terms >= 0).float(), "amax")
    return present
