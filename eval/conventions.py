"""How published figures of a test collection are computed, where that is not as everywhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Conventions:
    """A collection's own rules."""

    drop_query_document: bool = False
    """Queries are documents of the corpus: the document with a query's id is left out of its ranking."""
    relevant_from: int = 1
    """The least judgement that MAP, MRR and recall count as relevant. nDCG takes judgements as they are."""


# BEIR's two tasks whose queries are documents of the corpus: a query would find itself.
_QUERIES_ARE_DOCUMENTS = frozenset({"arguana", "quora"})
# TREC's deep learning tracks judge passages 0 to 3 and count them as relevant from 2
# (Craswell et al. 2020, "Overview of the TREC 2019 deep learning track", arXiv 2003.07820).
_DEEP_LEARNING_PASSAGES = re.compile(r"msmarco-passage(-v2)?/trec-dl-|beir/msmarco/test")


def conventions(name: str) -> Conventions:
    """Return the rules of a collection by its ir_datasets id or the name of its BEIR folder."""
    parts = name.lower().split("/")
    return Conventions(
        drop_query_document=not _QUERIES_ARE_DOCUMENTS.isdisjoint(parts),
        relevant_from=2 if _DEEP_LEARNING_PASSAGES.match(name.lower()) else 1,
    )
