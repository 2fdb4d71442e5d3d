"""Building a sharded index: reading, encoding and building spread over workers.

1. The corpus is divided into parts, and each part read into chunks of documents.
2. Repeated ids and, where asked for, texts are found over all chunks.
3. Batches are those that one process would make; runs of them are encoded.
4. The impact grid, the vocabulary and bm25's average length are settled for all documents.
5. Shards of consecutive documents are built, each an ordinary index, and put in place together.

Each piece of a step leaves files on storage that all workers see. A piece whose worker dies is done by
another one; a job that is interrupted goes on with what is there (``resume``).
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from lsr.cluster.encoding import Documents, EncodeStage, run_file
from lsr.cluster.executors import Executor
from lsr.cluster.gathering import drop_repeats, read_chunks
from lsr.cluster.planning import Run, plan_batches, plan_runs, plan_shards
from lsr.cluster.putting import put_in_place
from lsr.cluster.shards import QUERY_SIDE, VOCABULARY, Shard, ShardStage, common_vocabulary
from lsr.cluster.work_folder import JOB, WorkFolder, read_json, write_json
from lsr.corpus import ReadOptions, ReadReport
from lsr.corpus.parts import state_of
from lsr.corpus.streams import STANDARD_INPUT
from lsr.encoders.base import Encoder
from lsr.encoders.external import EXTERNAL, ExternalEncoder
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.index import IndexProblem
from lsr.index.grid import ImpactBits
from lsr.index.manifest import SHARDS, Manifest
from lsr.retrieval.build import BuildReport, choose_encoder

# A shard of more documents than this is more than one machine's page cache is likely to hold.
SHARD_DOCUMENTS = 50_000_000


def build_sharded_index(
    corpus: Sequence[str | Path],
    folder: str | Path,
    encoder: str | None = None,
    *,
    executor: Executor,
    shards: int | None = None,
    options: EncoderOptions | None = None,
    read_options: ReadOptions | None = None,
    read_report: ReadReport | None = None,
    overwrite: bool = False,
    impact_bits: ImpactBits = 8,
    store_texts: bool = True,
    deduplicate: Literal["text"] | None = None,
    resume: bool = False,
    durable: bool = True,
    progress: Callable[[int], None] | None = None,
) -> BuildReport:
    """Build a sharded index of a corpus; it answers as one that `lsr.build_index` built would.

    Args:
        corpus: sources as `lsr.read_corpus` takes them, readable by all workers under these names.
        folder: where the index is to be, on storage that all workers see.
        encoder: name or path, on all workers; None takes ``bm25``, or the vectors where documents
            have them.
        executor: where the work is done.
        shards: how many; None takes one for each worker, and more where a shard would hold more than
            `SHARD_DOCUMENTS`.
        resume: keep what is done beside `folder` until the index is in place, and take what an
            interrupted run of the same job left.
        progress: called with the number of documents encoded since the last call.

    The other arguments are those of `lsr.build_index`.

    Raises:
        UserError: for mistakes in the corpus or the encoder, and where what is to be resumed is
            another job.
        lsr.index.IndexProblem: where the folder is taken, or ids occur twice.
    """
    job = _Job(
        [str(source) for source in corpus],
        Path(folder),
        encoder,
        executor,
        shards,
        options or EncoderOptions(),
        read_options or ReadOptions(),
        read_report if read_report is not None else ReadReport(),
        overwrite,
        impact_bits,
        store_texts,
        deduplicate,
        durable,
        progress,
    )
    return job.run(resume=resume)


@dataclasses.dataclass
class _Job:
    corpus: list[str]
    folder: Path
    encoder_name: str | None
    executor: Executor
    shards: int | None
    options: EncoderOptions
    read_options: ReadOptions
    read_report: ReadReport
    overwrite: bool
    bits: ImpactBits
    store_texts: bool
    deduplicate: Literal["text"] | None
    durable: bool
    progress: Callable[[int], None] | None

    def run(self, *, resume: bool) -> BuildReport:
        start = time.perf_counter()
        if resume and STANDARD_INPUT in self.corpus:
            raise UserError(
                "--resume goes on with files that are still there, which standard input is not; write it to a file."
            )
        self._check_target()
        folder = WorkFolder(self.folder.absolute(), self._description(), resume=resume)
        keep = resume
        self.executor.witness = str(folder.path / JOB)
        try:
            report = self._build(folder.path, start)
            keep = False
            return report
        finally:
            folder.close(keep=keep)

    def _check_target(self) -> None:
        folder = self.folder
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return
        if not (folder / SHARDS).exists():
            raise IndexProblem(f"{folder} exists and is not a sharded index; choose another folder with -o.")
        if not self.overwrite:
            raise IndexProblem(
                f"{folder} exists already; choose another folder with -o, or replace it with --overwrite."
            )

    def _description(self) -> dict[str, Any]:
        """Return what makes this job the same as an interrupted one."""
        options = dataclasses.asdict(self.options)
        for name in ("threads", "device"):
            options.pop(name)
        return {
            "format": 2,
            "corpus": [[source, *state_of(source)] for source in self.corpus],
            "encoder": [self.encoder_name, options],
            "reading": dataclasses.asdict(self.read_options),
            "deduplicate": self.deduplicate,
            "shards": self.shards,
            "impact_bits": self.bits,
            "texts": self.store_texts,
        }

    def _build(self, work: Path, start: float) -> BuildReport:
        chunks, with_vectors = read_chunks(
            self.corpus, work, self.executor, self.read_options, self.read_report, self.deduplicate == "text"
        )
        dropped, same_text = drop_repeats(
            chunks, work, self.executor, self.read_options, self.read_report, self.deduplicate == "text"
        )
        encoder = choose_encoder(self.encoder_name, with_vectors, self.options)
        self._check_encoder(work, encoder)
        documents = Documents(str(work), tuple(chunks), dropped)
        batches = plan_batches(work, chunks, dropped)
        count = int(batches[-1])
        if not count:
            raise UserError("The corpus holds no documents; name a file or folder that does.")
        runs = plan_runs(chunks, dropped, batches, self._workers(work))
        before = time.perf_counter()
        resumed = sum(run.documents for run in runs if run_file(work, run.number).exists())
        encoded = self._encode(documents, runs, encoder, with_vectors)
        encode_seconds = time.perf_counter() - before
        manifests = self._build_shards(work, documents, runs, encoder, encoded, with_vectors)
        entries = [entry for manifest in manifests for entry in manifest.segments]
        weights = sum(entry.postings for entry in entries)
        stated = [(entry.quantisation, entry.postings) for entry in entries]
        errors = sum(q["mean_error"] * n for q, n in stated)
        total = sum(q["mean_error"] * n / q["relative_error"] for q, n in stated if q["relative_error"])
        return BuildReport(
            folder=str(self.folder),
            encoder=str(encoder.name),
            documents=count,
            empty_documents=sum(run["empty"] for run in encoded),
            postings=weights,
            vocabulary_size=manifests[0].vocabulary_size,
            seconds=time.perf_counter() - start,
            encode_seconds=encode_seconds,
            index_bytes=sum(file.bytes for manifest in manifests for file in manifest.files),
            cut_documents=sum(run["cut"] for run in encoded),
            bad_documents=self.read_report.bad,
            same_text=same_text,
            resumed_documents=resumed,
            impact_bits=self.bits,
            largest_error=max(q["largest_error"] for q, _ in stated),
            relative_error=errors / total if total else 0.0,
            shards=len(manifests),
        )

    # Encoding

    def _encode(
        self, documents: Documents, runs: Sequence[Run], encoder: Encoder, with_vectors: bool
    ) -> list[dict[str, Any]]:
        """Encode all runs and return what came of each."""
        stage = EncodeStage(
            documents=documents,
            folder=os.getcwd(),
            encoder=None if isinstance(encoder, ExternalEncoder) else str(encoder.name),
            options=self.options,
            fingerprint=encoder.fingerprint(),
            with_vectors=with_vectors,
            grows=_grows(encoder, with_vectors),
        )
        done: dict[int, dict[str, Any]] = {}
        models = not with_vectors and encoder.settings.get("kind") != "bm25"
        for number, result in self.executor.run(stage, runs, models=models):
            done[number] = result
            if self.progress:
                self.progress(result["documents"])
        return [done[number] for number in range(len(runs))]

    # Building

    def _build_shards(
        self,
        work: Path,
        documents: Documents,
        runs: Sequence[Run],
        encoder: Encoder,
        encoded: Sequence[dict[str, Any]],
        with_vectors: bool,
    ) -> list[Manifest]:
        """Build all shards and put them in place."""
        count = sum(run.documents for run in runs)
        grows = _grows(encoder, with_vectors)
        known = list(encoder.vocabulary)
        vocabulary = common_vocabulary(work, runs, known) if grows else known
        write_json(work / VOCABULARY, vocabulary)
        side = work / QUERY_SIDE
        shutil.rmtree(side, ignore_errors=True)
        side.mkdir()
        encoder.save_query_side(side)
        bm25 = None
        if encoder.weighting == "frequency":
            length = sum(run["length"] for run in encoded)
            bm25 = (encoder.settings["k1"], encoder.settings["b"], length / count)
        wanted = self.shards or max(self._workers(work), -(-count // SHARD_DOCUMENTS))
        token = self._token(work)
        shards = [
            Shard(f"shard-{token}-{number:05}", first, stop)
            for number, (first, stop) in enumerate(plan_shards(count, wanted))
        ]
        target = work / "index"
        target.mkdir(exist_ok=True)
        stage = ShardStage(
            documents=documents,
            target=str(target),
            runs=tuple(runs),
            encoder={
                "name": str(encoder.name),
                "fingerprint": encoder.fingerprint(),
                "settings": encoder.settings,
            },
            maximum=max(run["largest"] for run in encoded) or 1.0,
            bm25=bm25,
            bits=self.bits,
            width=len(vocabulary),
            known=len(known),
            grows=grows,
            store_texts=self.store_texts,
            durable=self.durable,
        )
        for _ in self.executor.run(stage, shards):
            pass
        manifests = [Manifest.read(target / shard.name) for shard in shards]
        put_in_place(target, self.folder, [shard.name for shard in shards], durable=self.durable)
        return manifests

    def _check_encoder(self, work: Path, encoder: Encoder) -> None:
        """Refuse to go on with another encoder than what is encoded was encoded with."""
        path = work / "encoder.json"
        known: str | None = read_json(path)
        if known is None:
            write_json(path, encoder.fingerprint())
        elif known != encoder.fingerprint():
            raise UserError(
                f"--resume: {encoder.name} is not what it was when the job was interrupted; put the old one back, or "
                f"delete {work} to start anew."
            )

    def _workers(self, work: Path) -> int:
        """Return how many workers runs and shards were cut for: as many as when the job was begun."""
        known: int | None = read_json(work / "workers.json")
        if known is None:
            known = self.executor.workers
            write_json(work / "workers.json", known)
        return known

    def _token(self, work: Path) -> str:
        """Return what this build's shards are called by, the same when the job is gone on with."""
        path = work / "token"
        if not path.exists():
            path.write_text(secrets.token_hex(4))
        return path.read_text()


def _grows(encoder: Encoder, with_vectors: bool) -> bool:
    """Tell whether the encoder's vocabulary grows with the documents."""
    if with_vectors:
        return isinstance(encoder, ExternalEncoder)
    settings = encoder.settings
    return (
        settings.get("kind") == EXTERNAL
        or (settings.get("kind") == "bm25" and settings.get("tokens") == "words")
        or settings.get("terms") == "words"
    )
