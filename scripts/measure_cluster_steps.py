"""What each step of building a sharded index costs a document: processor time and bytes.

    python scripts/measure_cluster_steps.py TRAIN_FOLDER VECTORS_FOLDER --work WORK [--documents 50000]

Texts are the positives of training pairs (JSON Lines, .gz) of 200 characters or more, cut to 1,000 at a
word; weights are real ones of 128 terms a document. Each step runs in this process, one piece after the
other; what counts is processor time, whatever else the machine does. Encoding is not measured here.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from vectors import Vectors

from lsr.cluster import LocalExecutor
from lsr.cluster.encoding import Documents
from lsr.cluster.planning import Run, plan_batches, plan_runs, plan_shards
from lsr.cluster.reading import Chunk, ReadStage
from lsr.cluster.repeats import find_repeats
from lsr.cluster.shards import QUERY_SIDE, VOCABULARY, Shard, ShardStage, common_vocabulary
from lsr.cluster.work_folder import write_arrays, write_json
from lsr.corpus import ReadOptions
from lsr.corpus.parts import divide_corpus
from lsr.encoders import load_encoder
from lsr.encoders.word_terms import DocumentWords
from lsr.index import Index

RUN_DOCUMENTS = 20_000  # of a large job: 20 batches of 1,000


def texts(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                text = json.loads(line)["positive"]
                if len(text) >= 200:
                    yield text[:1_000].rsplit(" ", 1)[0] if len(text) > 1_000 else text


def size(paths: Iterator[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("train", type=Path)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=50_000)
    args = parser.parse_args()
    shutil.rmtree(args.work, ignore_errors=True)
    work = args.work / "work"
    work.mkdir(parents=True)
    corpus = args.work / "corpus.jsonl"
    seen: set[str] = set()
    with corpus.open("w", encoding="utf-8") as file:
        for text in texts(args.train):
            if text not in seen:
                seen.add(text)
                file.write(
                    json.dumps({"id": f"doc{len(seen)}", "text": text, "year": 1990 + len(seen) % 35}) + "\n"
                )
            if len(seen) == args.documents:
                break
    count = len(seen)
    facts: dict[str, Any] = {
        "documents": count,
        "characters a document": round(sum(map(len, seen)) / count),
        "bytes a document of JSON": round(corpus.stat().st_size / count),
    }
    executor = LocalExecutor()

    def timed(name: str, start: float) -> None:
        facts[f"{name}: us of processor time a document"] = round(
            1e6 * (time.process_time() - start) / count, 1
        )

    parts = divide_corpus([corpus])
    start = time.process_time()
    stage = ReadStage(str(work), ".", ReadOptions(), True)
    done = [result for _, result in executor.run(stage, list(enumerate(parts)))]
    timed("reading", start)
    chunks = [Chunk(*chunk) for result in done for chunk in result["chunks"]]
    facts["bytes a document of chunks"] = round(size(work.glob("chunk-*")) / count)
    start = time.process_time()
    find_repeats(executor, work, chunks, "ids", {})
    timed("finding repeated ids", start)

    batches = plan_batches(work, chunks, {})
    runs = plan_runs(chunks, {}, batches, workers=4)
    rows = Vectors(args.vectors).matrix()[:count]
    for run in runs:
        part = sparse.csr_array(rows[run.first : run.first + run.documents])
        write_arrays(
            work / f"run-{run.number:06}.npz",
            {
                "data": part.data.astype(np.float32),
                "indices": part.indices.astype(np.int32),
                "indptr": part.indptr,
            },
        )
        write_json(work / f"run-{run.number:06}.json", {"documents": run.documents})
    facts["terms a document"] = round(rows.nnz / count, 1)
    facts["bytes a document of encoded runs"] = round(size(work.glob("run-*.npz")) / count)
    write_json(work / VOCABULARY, [f"t{i}" for i in range(rows.shape[1])])
    (work / QUERY_SIDE).mkdir()
    (work / QUERY_SIDE / "query_encoder.json").write_text('{"kind": "external"}')
    shards = [Shard(f"shard-{i}", *bounds) for i, bounds in enumerate(plan_shards(count, 1))]
    stage_of_shards = ShardStage(
        documents=Documents(str(work), tuple(chunks), {}),
        target=str(args.work / "index"),
        runs=tuple(runs),
        encoder={"name": "vectors", "fingerprint": "f", "settings": {}},
        maximum=255.0,
        bm25=None,
        bits=8,
        width=rows.shape[1],
        known=rows.shape[1],
        grows=False,
        store_texts=True,
        durable=True,
    )
    list(executor.run(stage_of_shards, shards[:0]))
    start = time.process_time()
    list(executor.run(stage_of_shards, shards))
    timed("building shards", start)
    with Index(args.work / "index" / "shard-0") as index:
        sizes = index.sizes()
        facts["bytes a posting"] = round(sizes["postings"] / index.posting_count, 2)
        facts["bytes a document of postings"] = round(sizes["postings"] / count)
        facts["bytes a document of texts and fields"] = round(sizes["texts"] / count)
    print(json.dumps(facts | word_facts(list(seen), args.work / "words"), indent=1))


def word_facts(texts: list[str], work: Path) -> dict[str, Any]:
    """Measure the words of their own that runs bring where the vocabulary grows (default-tiny), and their merging."""
    work.mkdir()
    pieces = load_encoder("default-tiny").vocabulary
    words = DocumentWords(pieces)
    runs, names, counts = [], [], []
    for first in range(0, len(texts), RUN_DOCUMENTS):
        part = texts[first : first + RUN_DOCUMENTS]
        words.forget()
        words.counts(part)
        own = words.vocabulary[len(pieces) :]
        counts.append(len(own))
        runs.append(Run(len(runs), first, len(part), ()))
        write_json(work / f"run-{len(names):06}.json", {"terms": own})
        names.append((work / f"run-{len(names):06}.json").stat().st_size)
    start = time.process_time()
    vocabulary = common_vocabulary(work, runs, pieces)
    seconds = time.process_time() - start
    return {
        f"own words of each run of {RUN_DOCUMENTS:,}": counts,
        "bytes of their names": names,
        "own words of all": len(vocabulary) - len(pieces),
        "merging: us of processor time a word of a run": round(1e6 * seconds / sum(counts), 2),
    }


if __name__ == "__main__":
    main()
