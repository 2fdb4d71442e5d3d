"""How rare a term is: among all training documents, and among those of each source.

The encoder meets collections of one subject, whose own IDF weighs its queries; so it is trained with
queries weighed by the IDF of their source as often as by that of everything.
"""

from __future__ import annotations

import numpy as np
import torch

from .dense import Texts
from .lexical import Words, idf_of
from .student import Vocabulary

# Fewer documents say little about how rare a term is.
_LEAST_DOCUMENTS = 2_000


def own_terms_by_group(
    texts: Texts, words: Words, known: Vocabulary, group: torch.Tensor, groups: int
) -> np.ndarray:
    """Return how many documents of each group hold each term themselves, shape (groups, vocabulary)."""
    device, size = texts.values.device, known.size
    counts = torch.zeros(groups * size, dtype=torch.int64, device=device)
    for rows in torch.arange(len(texts), device=device).split(65_536):
        packed = texts.packed(rows, 1 << 30)
        pairs = packed.owners * size + known.term_of[packed.tokens]
        ids = words.documents.ids[rows].long()
        terms = torch.where(ids >= 0, words.term_of_stem[ids.clamp(min=0)], -1)
        owner = torch.arange(len(rows), device=device).unsqueeze(1).expand_as(terms)
        both = torch.unique(torch.cat([pairs, (owner * size + terms)[terms >= 0]]))
        counts += torch.bincount(group[rows][both // size] * size + both % size, minlength=groups * size)
    return counts.view(groups, size).cpu().numpy()


def stems_by_group(words: Words, group: np.ndarray, groups: int) -> np.ndarray:
    """Return how many documents of each group hold each stem, shape (groups, stems)."""
    size = len(words.term_of_stem)
    owner = np.repeat(group, np.diff(words.terms.starts)).astype(np.int64)
    return np.bincount(owner * size + words.terms.values, minlength=groups * size).reshape(groups, size)


def idf_tables(by_group: np.ndarray, sizes: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return IDFs, shape (groups + 1, terms): of each group, and last of all documents together.

    Groups of few documents have the last row's.
    """
    whole = idf_of(by_group.sum(0), int(sizes.sum()), device)
    rows = [
        idf_of(counts, int(size), device) if size >= _LEAST_DOCUMENTS else whole
        for counts, size in zip(by_group, sizes, strict=True)
    ]
    return torch.stack([*rows, whole])


def own_idf(texts: Texts, words: Words, known: Vocabulary) -> torch.Tensor:
    """Return the IDF over one collection's documents, shape (vocabulary,)."""
    group = torch.zeros(len(texts), dtype=torch.int64, device=texts.values.device)
    counts = own_terms_by_group(texts, words, known, group, 1)[0]
    return idf_of(counts, len(texts), texts.values.device).masked_fill(known.special, 0)
