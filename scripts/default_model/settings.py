"""Settings of a training run, from a YAML file and KEY=VALUE changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

# Short definitions would otherwise be a third of everything; abstracts, answers and code are what
# people search.
SOURCE_WEIGHTS = {
    "wordnet": 0.1, "gcide": 0.2, "foldoc": 0.5, "jargon": 0.5, "factbook": 0.4, "tldr": 0.6,
    "pubmed_title_abstract": 2.0, "scitldr": 2.0, "pycode": 2.0, "onstartups_qa": 1.5, "medquad": 1.5,
    "squad_sentences": 1.5, "qa_wiki_small": 2.0,
}  # fmt: skip


@dataclass
class Settings:
    """Times are wall-clock seconds: schedules follow the share of time used, so a run fits its slot.

    `teachers`: weights of the logits (cosines of the dense ones, BM25 scores); empty fits them, by the
    likelihood of the positives. `made`, `neighbours`: made queries and neighbours' queries for each document
    of a batch. `keep_from`: share of the run after which documents are pruned to `keep` terms while training.
    `start`: a folder with a model to go on from, in place of the reconstruction. `rows`: terms that
    expansion may reach, the most frequent. `own_statistics`: share of the queries that are weighed by the
    IDF of their own source. `compiled`: fused steps, on a GPU. `judged`: collections to measure on.
    """

    layers: list[int] | None = None
    rows: int = 14_336
    seed: int = 0
    start: str = ""
    reconstruct_seconds: float = 60
    reconstruct_batch: int = 512
    reconstruct_rate: float = 5e-4
    seconds: float = 300
    batch: int = 1024
    topics: int = 16
    pieces: int = 4
    limit: int = 256
    rate: float = 5e-4
    warmup: float = 0.03
    weight_decay: float = 0.01
    factor_rate: float = 3e-3
    average: float = 0.999
    teachers: dict[str, float] = field(default_factory=dict)
    made: int = 1
    neighbours: float = 1.0
    made_weight: float = 0.5
    contrast: float = 0.1
    margin: float = 0.02
    sparsity: float = 0.1
    ramp: float = 0.5
    start_terms: int = 400
    keep: int = 128
    keep_from: float = 0.5
    own_statistics: float = 0.5
    source_power: float = -0.3
    source_weights: dict[str, float] = field(default_factory=lambda: dict(SOURCE_WEIGHTS))
    compiled: bool = True
    judged: list[str] = field(default_factory=lambda: ["scifact", "cranfield", "npl_vaswani"])


def read_settings(file: Path | None, changes: Sequence[str]) -> Settings:
    """Read settings; unknown names raise `SystemExit` with a sentence."""
    values = yaml.safe_load(file.read_text()) or {} if file else {}
    for change in changes:
        key, _, value = change.partition("=")
        values[key] = yaml.safe_load(value)
    unknown = set(values) - {item.name for item in dataclasses.fields(Settings)}
    if unknown:
        raise SystemExit(f"{sorted(unknown)[0]!r} is no setting of a run.")
    return Settings(**values)
