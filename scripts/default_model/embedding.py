"""Embedding all texts of a run with a teacher, in parts that several devices share."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from .dense import Texts, embed, load_teacher
from .inputs import Ragged, same_vocabulary

_PADDING = {"bert": 0, "mpnet": 1}


def embed_part(
    inputs: Path, teachers: list[str], groups: list[str], part: int, parts: int, token_budget: int
) -> None:
    """Embed every `parts`-th text from `part` on, of every group, into GROUP.TEACHER.part-I-N.npy.

    `teachers` are ``NAME=FOLDER`` or, where the vocabulary is not the student's, ``NAME=FOLDER=mpnet``.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for teacher in teachers:
        name, folder, *kind = teacher.split("=")
        model = load_teacher(Path(folder), device)
        table = None
        if kind:
            table = same_vocabulary(inputs / "tokenizer.json", Path(folder) / "tokenizer.json")
        for group in [f"{group}.{side}" for group in groups for side in ("documents", "queries")]:
            began = time.monotonic()
            ragged = Ragged.load(inputs, f"{group}.bert")
            lengths = np.diff(ragged.starts)
            mine = np.arange(part, len(lengths), parts)
            chosen = np.zeros(len(lengths), bool)
            chosen[mine] = True
            values = ragged.values[np.repeat(chosen, lengths)]
            if table is not None:
                values = table[values]
            starts = np.concatenate([[0], np.cumsum(lengths[mine])]).astype(np.int64)
            texts = Texts(Ragged(values, starts), device)
            found = embed(model, texts, _PADDING[kind[0] if kind else "bert"], token_budget)
            np.save(inputs / f"{group}.{name}.part-{part}-{parts}.npy", found.cpu().numpy())
            print(name, group, len(texts), f"{time.monotonic() - began:.1f} s", flush=True)


def join_parts(inputs: Path) -> None:
    """Put the parts of each group together as GROUP.TEACHER.dense.npy."""
    for first in sorted(inputs.glob("*.part-0-*.npy")):
        stem, _, parts = first.name.removesuffix(".npy").rpartition(".part-0-")
        files = [inputs / f"{stem}.part-{i}-{parts}.npy" for i in range(int(parts))]
        arrays = [np.load(file) for file in files]
        whole = np.empty((sum(map(len, arrays)), arrays[0].shape[1]), arrays[0].dtype)
        for i, array in enumerate(arrays):
            whole[i :: int(parts)] = array
        np.save(inputs / f"{stem}.dense.npy", whole)
        for file in files:
            file.unlink()
