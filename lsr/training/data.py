"""From the settings of the data to batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from lsr.errors import UserError
from lsr.training.collation import BatchDataset
from lsr.training.pairs import Pair, find_pair_files, read_pairs
from lsr.training.sampling import SamplingPlan
from lsr.training.self_supervised import make_pairs
from lsr.training.settings import DataSettings, SourceSettings, TrainingSettings


class Source(NamedTuple):
    """Pairs that are drawn with one weight; held in memory."""

    name: str
    weight: float
    pairs: list[Pair]


def load_sources(settings: DataSettings, seed: int) -> list[Source]:
    """Read all sources; raises `UserError` for one that is missing, damaged or gives no pairs."""
    if not settings.sources:
        raise UserError("data.sources is empty; name at least one file of training pairs or a corpus.")
    return [source for wanted in settings.sources for source in _load(wanted, seed)]


def documents_of(sources: Sequence[Source]) -> Iterator[str]:
    """Yield every document of the training data once: positives and hard negatives."""
    seen: set[int] = set()
    for source in sources:
        for pair in source.pairs:
            for text in (pair.positive, *pair.negatives):
                key = hash(text)
                if key not in seen:
                    seen.add(key)
                    yield text


def count_steps(settings: TrainingSettings, pairs: int) -> int:
    """Return the number of optimizer steps that the settings ask for."""
    if settings.steps is not None:
        return settings.steps
    assert settings.epochs is not None  # TrainingSettings sees to it
    return max(1, math.ceil(settings.epochs * pairs / (settings.batch_size * settings.accumulation)))


def make_batches(
    sources: Sequence[Source], data: DataSettings, training: TrainingSettings, steps: int
) -> BatchDataset:
    """Return the batches of a whole run, in order."""
    plan = SamplingPlan(
        [len(source.pairs) for source in sources],
        [source.weight for source in sources],
        training.batch_size,
        steps * training.accumulation,
        one_source=data.batches == "one-source",
        seed=training.seed,
    )
    return BatchDataset(
        [source.pairs for source in sources], plan, data.negatives, data.max_characters, training.seed
    )


def _load(wanted: SourceSettings, seed: int) -> Iterator[Source]:
    if wanted.corpus is not None:
        from lsr.corpus import read_corpus

        made = make_pairs(
            read_corpus([wanted.corpus]), wanted.pairs, seed, pairs_per_document=wanted.pairs_per_document
        )
        pairs = list(islice(made, wanted.limit))
        if not pairs:
            needed = (
                "titles and texts" if wanted.pairs == "title-to-body" else "texts of two sentences or more"
            )
            raise UserError(f"{wanted.corpus}: no {wanted.pairs} pair can be made of it; it needs {needed}.")
        yield Source(wanted.corpus, wanted.weight, pairs)
        return
    assert wanted.path is not None  # SourceSettings sees to it
    for file in find_pair_files(wanted.path):
        pairs = list(islice(read_pairs(file), wanted.limit))
        if not pairs:
            raise UserError(f"{file}: holds no training pairs.")
        yield Source(file.name, wanted.weight, pairs)
