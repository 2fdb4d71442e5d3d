"""Hard negatives: what a search finds for a training query and is not its positive.

Documents that score too near the positive are likelier unlabelled positives than negatives. They are
filtered by a margin to the positive's score, absolute or relative (positive-aware mining, arXiv 2407.15831,
finds 5 % of the positive's score best).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.training.mining_options import MineOptions
from lsr.training.mining_search import Found, Retriever, corpus_texts, open_retriever
from lsr.training.pairs import find_pair_files, read_pairs
from lsr.training.teachers import Teacher, load_teacher

__all__ = ["MineOptions", "MinePair", "MineReport", "mine", "read_mining_pairs"]

_BATCH = 256


class MinePair(NamedTuple):
    """A query and one of its positives."""

    query: str
    positive: str


@dataclass(slots=True)
class MineReport:
    """What mining came to: pairs written, negatives in all of them, documents filtered by the margin,
    pairs that kept no negative.
    """

    pairs: int = 0
    negatives: int = 0
    filtered: int = 0
    bare: int = 0


def read_mining_pairs(source: str | Path, split: str = "train") -> tuple[list[MinePair], str | None]:
    """Return pairs, and the corpus that comes with them.

    `source` is what `lsr.training.pairs.find_pair_files` takes, or a BEIR folder, whose relevant
    documents by the judgements `split` are the positives.
    """
    folder = Path(source)
    if folder.is_dir() and (folder / "qrels").is_dir():
        return _beir_pairs(folder, split), str(folder)
    pairs = [MinePair(p.query, p.positive) for file in find_pair_files(source) for p in read_pairs(file)]
    if not pairs:
        raise UserError(f"{source}: holds no training pairs.")
    return pairs, None


def mine(
    pairs: Sequence[MinePair],
    file: IO[str],
    options: MineOptions,
    *,
    corpus: str | Path | None = None,
    encoder: str | Path = "bm25",
    dense: str | None = None,
    index: str | Path | None = None,
    encoder_options: EncoderOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> MineReport:
    """Search for every query and write its pair with negatives and scores to `file`, a line each.

    Args:
        pairs: what to mine for; all positives of a query are kept out of its negatives.
        file: gets lines that `lsr.training.pairs.read_pairs` reads.
        options: which documents are taken.
        corpus: what is searched; None for the positives alone. Positives that it lacks are added.
        encoder: the sparse encoder that searches.
        dense: a dense model that searches instead, through faiss.
        index: an index that is searched as it is, with its own encoder.
        encoder_options: how models are run.
        progress: called with the number of pairs done since the last call.
    """
    run = encoder_options or EncoderOptions()
    known: dict[str, set[str]] = {}
    for pair in pairs:
        known.setdefault(pair.query, set()).add(pair.positive)
    texts = None if index is not None else corpus_texts(corpus, [pair.positive for pair in pairs])
    teacher = None
    if options.teacher is not None:
        teacher = load_teacher(options.teacher, lambda: texts or (), run.device)
    random = np.random.default_rng(options.seed)
    report = MineReport()
    with open_retriever(texts, encoder=encoder, dense=dense, index=index, options=run) as retriever:
        for first in range(0, len(pairs), _BATCH):
            batch = pairs[first : first + _BATCH]
            for pair, found in zip(batch, _found(retriever, teacher, batch, options), strict=True):
                chosen = _choose(found, known[pair.query], options, random, report)
                _write(file, pair, found, chosen, report)
            if progress:
                progress(len(batch))
    return report


def _found(
    retriever: Retriever, teacher: Teacher | None, batch: Sequence[MinePair], options: MineOptions
) -> Iterator[Found]:
    """Yield what was found for each pair, scored by the teacher where there is one."""
    results = retriever.find(
        [pair.query for pair in batch],
        [pair.positive for pair in batch],
        options.first_rank,
        options.last_rank,
    )
    if teacher is None:
        yield from results
        return
    columns: dict[str, int] = {}
    rows = [
        [columns.setdefault(text, len(columns)) for text in (pair.positive, *found.texts)]
        for pair, found in zip(batch, results, strict=True)
    ]
    wanted = np.zeros((len(batch), len(columns)), bool)
    for number, row in enumerate(rows):
        wanted[number, row] = True
    scores = teacher.score([pair.query for pair in batch], list(columns), wanted)
    for number, (row, found) in enumerate(zip(rows, results, strict=True)):
        yield Found(found.texts, scores[number, row[1:]], float(scores[number, row[0]]))


def _choose(
    found: Found, positives: set[str], options: MineOptions, random: np.random.Generator, report: MineReport
) -> list[int]:
    """Return the places of a pair's negatives among what was found."""
    ceiling = options.ceiling(found.positive)
    others = [place for place, text in enumerate(found.texts) if text not in positives]
    below = [place for place in others if float(found.scores[place]) <= ceiling]
    report.filtered += len(others) - len(below)
    if options.pick == "random" and len(below) > options.negatives:
        return sorted(random.choice(below, size=options.negatives, replace=False).tolist())
    return below[: options.negatives]


def _write(file: IO[str], pair: MinePair, found: Found, chosen: list[int], report: MineReport) -> None:
    record: dict[str, object] = {"query": pair.query, "positive": pair.positive}
    if chosen:
        record["negatives"] = [found.texts[place] for place in chosen]
        # An index that does not hold the positive has no score for it, and then nothing to distil.
        scores: NDArray[np.float64] = np.array([found.positive, *found.scores[chosen]], np.float64)
        if np.isfinite(scores).all():
            record["scores"] = scores.round(6).tolist()
    file.write(json.dumps(record, ensure_ascii=False) + "\n")
    report.pairs += 1
    report.negatives += len(chosen)
    report.bare += not chosen


def _beir_pairs(folder: Path, split: str) -> list[MinePair]:
    from lsr.corpus import ReadReport
    from lsr.eval import load_dataset

    dataset = load_dataset(folder, split)
    wanted = {
        document for judged in dataset.qrels.values() for document, score in judged.items() if score > 0
    }
    texts = {
        document.id: document.full_text
        for document in dataset.documents(ReadReport())
        if document.id in wanted
    }
    return [
        MinePair(query.text, texts[document])
        for query in dataset.queries
        for document, score in dataset.qrels[query.id].items()
        if score > 0 and texts.get(document)
    ]
