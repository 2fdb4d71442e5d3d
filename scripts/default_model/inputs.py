"""The inputs of a training run as flat arrays: tokens, stems, pairs, queries made from texts, test sets.

`prepare` turns folders of JSON lines into .npy files, once; everything later reads those alone.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import multiprocessing
import os
import random
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lsr.encoders.stem_classes import content_pieces, stem_classes

MAX_TOKENS = 256
MAX_QUERY_TOKENS = 96
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_HELD_OUT = 0.03
# Dictionary entries are short and many; more of them teach nothing new.
SOURCE_CAPS = {"wordnet": 30_000, "gcide": 10_000}


class Ragged:
    """Rows of different lengths in one flat array: row i is ``values[starts[i]:starts[i + 1]]``."""

    def __init__(self, values: NDArray[Any], starts: NDArray[np.int64]) -> None:
        self.values, self.starts = values, starts

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], dtype: Any) -> Ragged:
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=starts[1:])
        values = np.fromiter((value for row in rows for value in row), dtype, int(starts[-1]))
        return cls(values, starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def save(self, folder: Path, name: str) -> None:
        np.save(folder / f"{name}.values.npy", self.values)
        np.save(folder / f"{name}.starts.npy", self.starts)

    @classmethod
    def load(cls, folder: Path, name: str) -> Ragged:
        return cls(np.load(folder / f"{name}.values.npy"), np.load(folder / f"{name}.starts.npy"))


def read_pairs(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (source, query, positive) of every ``SOURCE.jsonl`` or ``SOURCE.jsonl.gz`` in a folder."""
    for path in sorted(folder.glob("*.jsonl*")):
        source = path.name.split(".")[0]
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
            for line in lines:
                pair = json.loads(line)
                yield source, pair["query"], pair["positive"]


def made_queries(text: str) -> list[str]:
    """Return up to three queries cut from a text: a run of words, a sentence, and a few sentences.

    None of a short text; a few sentences of a long one only.
    """
    words = text.split()
    if len(words) < 30:
        return []
    chance = random.Random(hashlib.sha256(text.encode()).digest())
    length = chance.randint(4, 14)
    start = chance.randrange(len(words) - length)
    queries = [" ".join(words[start : start + length])]
    sentences = [s for s in _SENTENCE.split(text) if 5 <= len(s.split()) <= 40]
    if sentences:
        queries.append(chance.choice(sentences))
    if len(sentences) >= 6:
        first = chance.randrange(len(sentences) - 3)
        queries.append(" ".join(sentences[first : first + chance.randint(2, 4)]))
    return queries


def held_out(text: str) -> bool:
    """Tell by a text's hash whether it is kept for choosing settings."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little") < _HELD_OUT * 2**32


class _Worker:
    """What a process of the pool keeps: a tokenizer and a stemmer."""

    tokenizer: Tokenizer
    words: Any

    @classmethod
    def start(cls, tokenizer_file: str) -> None:
        from lsr.encoders.bm25_words import WordTerms

        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        cls.tokenizer = Tokenizer.from_file(tokenizer_file)
        cls.tokenizer.no_padding()
        cls.words = WordTerms("english", "english")

    @classmethod
    def work(cls, job: tuple[list[str], int]) -> dict[str, NDArray[Any]]:
        """Return tokens, stems (as hashes) with their counts, and numbers of words, of some texts."""
        texts, limit = job
        cls.tokenizer.enable_truncation(limit)
        tokens = [encoding.ids for encoding in cls.tokenizer.encode_batch_fast(texts)]
        found = [cls.words.terms(text) for text in texts]
        counted = [Counter(row) for row in found]
        return {
            "tokens": np.array([i for row in tokens for i in row], np.uint16),
            "token_counts": np.array([len(row) for row in tokens]),
            "stems": np.array([zlib.crc32(stem.encode()) for row in counted for stem in row], np.uint32),
            "stem_counts": np.array([min(n, 255) for row in counted for n in row.values()], np.uint8),
            "stem_rows": np.array([len(row) for row in counted]),
            "lengths": np.array([len(row) for row in found], np.float32),
        }


def _made(texts: list[str]) -> list[list[str]]:
    return [made_queries(text) for text in texts]


def _in_parts(texts: Sequence[str], size: int = 1000) -> list[list[str]]:
    return [list(texts[first : first + size]) for first in range(0, len(texts), size)]


def _starts(counts: NDArray[Any]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _process(texts: Sequence[str], limit: int, pool: Any) -> dict[str, NDArray[Any]]:
    parts = list(pool.imap(_Worker.work, [(part, limit) for part in _in_parts(texts)]))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def prepare(
    train: Path, collections: Path, tokenizer: Path, output: Path, processes: int, sample: float
) -> None:
    """Write the arrays of a run."""
    output.mkdir(parents=True, exist_ok=True)
    with multiprocessing.Pool(processes, _Worker.start, (str(tokenizer),)) as pool:
        pairs = list(read_pairs(train))
        seen: Counter[str] = Counter()
        chance = random.Random(0)
        chance.shuffle(pairs)
        kept = []
        for pair in pairs:
            seen[pair[0]] += 1
            if seen[pair[0]] <= SOURCE_CAPS.get(pair[0], len(pairs)):
                kept.append(pair)
        pairs = kept[: int(len(kept) * sample)]
        sources = sorted({source for source, _, _ in pairs})
        numbers = {source: number for number, source in enumerate(sources)}
        document_ids: dict[str, int] = {}
        query_texts, query_document = [], []
        for _, query, positive in pairs:
            query_document.append(document_ids.setdefault(positive, len(document_ids)))
            query_texts.append(query)
        source_of = [numbers[source] for source, _, _ in pairs]
        kind = [0] * len(pairs)  # 0 a query of the data, 1 a run of words, 2 a sentence, 3 a few sentences
        document_source = np.zeros(len(document_ids), np.int16)
        document_source[np.array(query_document)] = np.array(source_of)
        texts = list(document_ids)
        for number, made in enumerate(row for part in pool.imap(_made, _in_parts(texts)) for row in part):
            for place, query in enumerate(made):
                query_texts.append(query)
                query_document.append(number)
                kind.append(1 + place)
        _report("pairs", len(pairs), "documents", len(texts), "queries", len(query_texts))
        np.save(output / "query_document.npy", np.array(query_document, np.int32))
        np.save(output / "query_kind.npy", np.array(kind, np.int8))
        np.save(output / "document_held_out.npy", np.array([held_out(text) for text in texts]))
        np.save(output / "document_source.npy", document_source)
        (output / "sources.json").write_text(json.dumps(sources))

        groups: dict[str, tuple[Sequence[str], Sequence[str]]] = {"train": (texts, query_texts)}
        for folder in sorted(collections.iterdir()) if collections else []:
            groups[folder.name] = _read_collection(folder, output)
        done = {
            f"{name}.{part}": _process(rows, limit, pool)
            for name, (documents, queries) in groups.items()
            for part, rows, limit in (
                ("documents", documents, MAX_TOKENS),
                ("queries", queries, MAX_QUERY_TOKENS),
            )
        }
    hashes = np.unique(np.concatenate([found["stems"] for found in done.values()]))
    for name, found in done.items():
        Ragged(found["tokens"], _starts(found["token_counts"])).save(output, f"{name}.bert")
        starts = _starts(found["stem_rows"])
        stems = np.searchsorted(hashes, found["stems"]).astype(np.int32)
        Ragged(stems, starts).save(output, f"{name}.stems")
        Ragged(found["stem_counts"], starts).save(output, f"{name}.stem_counts")
        np.save(output / f"{name}.lengths.npy", found["lengths"])
        _report(name, len(found["lengths"]), "texts", len(found["tokens"]), "tokens")
    (output / "stems.json").write_text(json.dumps(len(hashes)))
    pieces = terms_by_id(Tokenizer.from_file(str(tokenizer)))
    classes = stem_classes(pieces)
    np.save(output / "term_of_piece.npy", classes.term_of.astype(np.int32))
    # The piece that stands for each stem, -1 for stems that no piece has.
    term_of_stem = np.full(len(hashes), -1, np.int32)
    for stem, piece in classes.by_stem.items():
        code = np.uint32(zlib.crc32(stem.encode()))
        if (place := np.searchsorted(hashes, code)) < len(hashes) and hashes[place] == code:
            term_of_stem[place] = piece
    np.save(output / "term_of_stem.npy", term_of_stem)
    np.save(output / "content_pieces.npy", content_pieces(pieces))
    _report(len(set(classes.term_of.tolist())), "of", len(pieces), "pieces stand for a class of stems")


def terms_by_id(tokenizer: Tokenizer) -> list[str]:
    """Return the piece of each id."""
    return [tokenizer.id_to_token(number) for number in range(tokenizer.get_vocab_size())]


def same_vocabulary(tokenizer: Path, other: Path) -> NDArray[np.uint16]:
    """Return the id in another tokenizer's vocabulary of each id, for tokenizers that cut alike.

    MPNet's vocabulary is BERT's with its own special tokens.
    """
    here = Tokenizer.from_file(str(tokenizer)).get_vocab(with_added_tokens=True)
    there = Tokenizer.from_file(str(other)).get_vocab(with_added_tokens=True)
    renamed = {"[CLS]": "<s>", "[SEP]": "</s>", "[PAD]": "<pad>", "[MASK]": "<mask>"}
    table = np.zeros(max(here.values()) + 1, np.uint16)
    for token, number in here.items():
        table[number] = there.get(renamed.get(token, token), there["[UNK]"])
    return table


def _read_collection(folder: Path, output: Path) -> tuple[list[str], list[str]]:
    """Return the documents (title before text) and the judged queries; judgements go to `output`."""
    with gzip.open(folder / "corpus.jsonl.gz", "rt") as lines:
        corpus = [json.loads(line) for line in lines]
    rows = {document["_id"]: row for row, document in enumerate(corpus)}
    with (folder / "queries.jsonl").open() as lines:
        asked = {query["_id"]: query["text"] for query in map(json.loads, lines)}
    columns: dict[str, int] = {}
    judged = []
    for line in (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        if query in asked and document in rows:
            judged.append((columns.setdefault(query, len(columns)), rows[document], int(grade)))
    np.save(output / f"{folder.name}.qrels.npy", np.array(judged, np.int32))
    return [f"{d.get('title', '')} {d['text']}".strip() for d in corpus], [asked[q] for q in columns]


def _report(*parts: Any) -> None:
    print(*parts, flush=True)
