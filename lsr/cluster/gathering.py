"""From a corpus to chunks of documents, those that occur twice marked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lsr.cluster.chunks import read_chunk
from lsr.cluster.executors import Executor
from lsr.cluster.reading import Chunk, CountStage, ReadStage
from lsr.cluster.repeats import Masks, drop, find_repeats
from lsr.corpus import ReadOptions, ReadReport
from lsr.corpus.parts import divide_corpus, number_lines
from lsr.corpus.report import EXAMPLES_KEPT
from lsr.errors import UserError
from lsr.index import IndexProblem


def read_chunks(
    corpus: Sequence[str],
    work: Path,
    executor: Executor,
    options: ReadOptions,
    report: ReadReport,
    same_texts: bool,
) -> tuple[list[Chunk], bool]:
    """Read a corpus into chunks; return them in order, and whether documents bring their weights.

    Args:
        same_texts: note digests of texts too.
    """
    parts = divide_corpus(corpus)
    here = os.getcwd()
    if any(part.kind == "lines" and part.start for part in parts):
        counts = dict(executor.run(CountStage(here), parts))
        parts = number_lines(parts, [counts[number] for number in range(len(parts))])
    stage = ReadStage(str(work), here, options, same_texts)
    spread = [(number, part) for number, part in enumerate(parts) if part.kind != "here"]
    done: dict[int, dict[str, Any]] = {}
    for place, result in executor.run(stage, spread):
        done[spread[place][0]] = result
    for number, part in enumerate(parts):
        if part.kind == "here":
            done[number] = stage.read(number, part)
    chunks: list[Chunk] = []
    flags = []
    for number in range(len(parts)):
        result = done[number]
        chunks += [Chunk(*chunk) for chunk in result["chunks"]]
        report.bad += result["bad"]
        report.bad_examples += result["bad_examples"][: EXAMPLES_KEPT - len(report.bad_examples)]
        report.passed_over += result["passed_over"]
        report.bytes_read += result["bytes"]
        if result["first_has_vector"] is not None:
            flags.append(bool(result["first_has_vector"]))
    report.documents += sum(chunk.documents for chunk in chunks)
    if not flags:
        raise UserError("The corpus holds no documents; name a file or folder that does.")
    return chunks, flags[0]


def drop_repeats(
    chunks: Sequence[Chunk],
    work: Path,
    executor: Executor,
    options: ReadOptions,
    report: ReadReport,
    same_texts: bool,
) -> tuple[Masks, int]:
    """Return which documents are left out, and how many of them for their text.

    The rules are those of one process: with ``skip_bad`` an id counts the first time; then a text,
    where asked for; without, an id that comes twice among those left is an error.
    """
    dropped: Masks = {}
    if options.skip_bad:
        repeats = find_repeats(executor, work, chunks, "ids", dropped)
        for number, row in repeats.tolist():
            _count_bad(work, chunks[number], row, report)
        drop(dropped, repeats, chunks)
    same_text = 0
    if same_texts:
        repeats = find_repeats(executor, work, chunks, "texts", dropped)
        same_text = len(repeats)
        drop(dropped, repeats, chunks)
    if not options.skip_bad:
        repeats = find_repeats(executor, work, chunks, "ids", dropped)
        if len(repeats):
            id_, location = _named(work, chunks[repeats[0, 0]], int(repeats[0, 1]))
            where = f"{location}: " if location else ""
            raise IndexProblem(
                f"{where}the document id {id_!r} occurs twice; give every document an id of its own."
            )
    return dropped, same_text


def _count_bad(work: Path, chunk: Chunk, row: int, report: ReadReport) -> None:
    """Count a document whose id an earlier one has; the first ones by name."""
    if len(report.bad_examples) >= EXAMPLES_KEPT:
        report.bad += 1
        return
    id_, location = _named(work, chunk, row)
    report.bad_document(location or id_, f"the id {id_!r} occurs twice", skip=True)


def _named(work: Path, chunk: Chunk, row: int) -> tuple[str, str]:
    """Return the id of a document and where it was read."""
    (document,) = read_chunk(work / f"{chunk.stem}.parquet", np.array([row]))
    return document.id, document.location
