"""What queries need once they leave this program: the query encoder, frozen, and every term's weight."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsr.encoders.bag_of_tokens import BagOfTokensQueryEncoder
from lsr.encoders.bm25 import Bm25QueryEncoder
from lsr.encoders.bm25_weights import inverse_document_frequency
from lsr.export.engine import Engine
from lsr.export.source import ExportSource

ENCODER_FOLDER = "query_encoder"
TERMS_FILE = "query_terms.jsonl"


def write_query_side(engine: Engine, folder: Path) -> str:
    """Write ``query_encoder/`` and ``query_terms.jsonl``, and return what the guide says of them.

    An IDF of the corpus is frozen at what it is now: the engine's documents are those of now.
    """
    source = engine.source
    target = folder / ENCODER_FOLDER
    target.mkdir()
    encoder = source.encoder
    if isinstance(encoder, BagOfTokensQueryEncoder):
        encoder.frozen(source.index, source.terms).save(target)
    else:
        for path in sorted(source.index.encoder_folder.iterdir()):
            shutil.copyfile(path, target / path.name)
    _write_terms(engine, term_weights(source), folder / TERMS_FILE)
    return _guide(source)


def term_weights(source: ExportSource) -> NDArray[np.float32] | None:
    """Return what a term weighs in a query that holds it once, shape (vocabulary,).

    None where a model weighs queries, and for external vectors, which bring their weights.
    """
    encoder, index = source.encoder, source.index
    if isinstance(encoder, BagOfTokensQueryEncoder):
        return encoder.frozen(index, source.terms).table
    if isinstance(encoder, Bm25QueryEncoder):
        frequencies = index.document_frequencies(np.arange(index.vocabulary_size))
        return inverse_document_frequency(frequencies, index.document_count).astype(np.float32)
    return None


def _write_terms(engine: Engine, weights: NDArray[np.float32] | None, path: Path) -> None:
    names = getattr(engine, "names", engine.source.terms)
    with path.open("w", encoding="utf-8") as file:
        for term_id, (term, name) in enumerate(zip(engine.source.terms, names, strict=True)):
            line: dict[str, Any] = {"id": term_id, "term": term}
            if name != term:
                line["name"] = name
            if weights is not None:
                line["weight"] = float(f"{weights[term_id]:.9g}")
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _guide(source: ExportSource) -> str:
    encoder = source.encoder
    start = (
        "## The weights of a query\n\n"
        f"`{TERMS_FILE}` has every term: its id, its string, its name in the engine where that is another, and what it "
        "weighs in\na query.\n\n"
    )
    python = (
        "    import lsr\n"
        f'    encoder = lsr.load_query_encoder("{ENCODER_FOLDER}")\n'
        '    weights = encoder.encode_queries(["solar panels on roofs"])   # scipy.sparse.csr_array, term ids\n'
    )
    if isinstance(encoder, BagOfTokensQueryEncoder):
        idf = (
            " The weights hold the corpus IDF as it was when this was exported."
            if encoder.settings["idf"] == "corpus"
            else ""
        )
        k3 = encoder.settings["k3"]
        if k3:
            idf += f" One that stands n times in the query counts\n{k3 + 1:g} n / ({k3:g} + n) times."
        if encoder.settings["terms"] == "words":
            return (
                start
                + "Queries are inference-free: a query's terms are those of its words and of its word pieces (forms of "
                f"a word share\na term), each with its weight.{idf}\n\n" + python
            )
        return (
            start
            + f"Queries are inference-free: tokenize the text with `{ENCODER_FOLDER}/query_tokenizer.json` (Hugging "
            "Face\ntokenizers), take each distinct token whose weight is above 0, and give it that weight."
            f"{idf}\nOr:\n\n" + python
        )
    if isinstance(encoder, Bm25QueryEncoder):
        return (
            start
            + "bm25: split the text into terms as the index does, and give each term its weight (Lucene's IDF as it was "
            "when\nthis was exported) times the number of its occurrences. "
            f"`{ENCODER_FOLDER}/` has the settings; the terms:\n\n"
            "    import lsr\n"
            f'    terms = lsr.load_query_encoder("{ENCODER_FOLDER}").query_terms(["solar panels on roofs"])\n'
        )
    if encoder.settings.get("kind") == "external":
        return (
            start.replace(", and what it weighs in\na query", "")
            + "The index was filled with vectors from elsewhere; what made them makes the weights of queries too.\n"
        )
    return (
        start.replace(", and what it weighs in\na query", "")
        + "A model weighs queries; it must lie where it lay when the index was built:\n\n"
        + python
    )
