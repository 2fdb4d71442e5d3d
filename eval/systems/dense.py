"""Dense retrieval: a sentence-transformers model, searched exactly through faiss."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.eval.rankings import Scored
from lsr.eval.systems.base import BuildTimes, Sizes, Touched, Workspace
from lsr.eval.systems.requirements import quiet_loading, require

if TYPE_CHECKING:
    from lsr.corpus import Document, Query
    from lsr.retrieval import TermScore
    from lsr.training.teachers.dense import DenseTeacher

# Documents are embedded, and kept on disk, this many at a time: enough to sort by length.
_PART = 2_000
_WEIGHTS = ("*.safetensors", "*.bin", "*.json", "*.txt", "*.model")


class DenseSystem:
    """A bi-encoder. Embeddings are compared as the model compares them: by cosine or dot product.

    Args:
        label: what tables call it.
        model: a folder or a Hugging Face id.
        options: ``max_length``, ``batch_size`` and ``device``.
    """

    def __init__(
        self, label: str, model: str, options: EncoderOptions | None = None, spec: str | None = None
    ):
        require("sentence_transformers", "sentence-transformers", "dense systems", "dense")
        require("faiss", "faiss", "dense systems", "dense")
        self.label = label
        self.spec = spec or f"dense:{model}"
        self.model = model
        self._options = options or EncoderOptions()
        self._loaded: DenseTeacher | None = None
        self._fingerprint: str | None = None

    def identity(self) -> dict[str, Any]:
        """Return the model's fingerprint and what changes its embeddings."""
        if self._fingerprint is None:
            self._fingerprint = model_fingerprint(self.model)
        return {
            "kind": "dense",
            "encoder": Path(self.model).name,
            "fingerprint": self._fingerprint,
            "max_length": self._options.max_length,
        }

    def load(self) -> DenseTeacher:
        """Return the model, loaded once."""
        if self._loaded is None:
            from lsr.training.teachers.dense import DenseTeacher

            with quiet_loading():
                self._loaded = DenseTeacher(
                    str(resolve_model(self.model)),
                    max_length=self._options.max_length,
                    batch_size=self._options.batch_size,
                    device=self._options.device,
                )
        return self._loaded

    def open(self, workspace: Workspace) -> DenseEngine:
        """Embed the data set's documents, unless the cache has them, and index them."""
        key = {**self.identity(), "documents": workspace.checksums.documents}
        label = f"{workspace.dataset.file_name}.{key['encoder']}"
        entry = workspace.cache.entry("embeddings", label, key, lambda draft: self._embed(workspace, draft))
        return DenseEngine(self, entry)

    def _embed(self, workspace: Workspace, draft: Path) -> None:
        """Write embeddings and ids in parts; parts that an interrupted run left are taken as they are."""
        from lsr.corpus import ReadReport

        dataset = workspace.dataset
        reading = ReadReport()
        with workspace.progress(
            f"Embedding {dataset.name} with {self.label}",
            total=dataset.document_count,
            fraction=lambda: reading.fraction,
        ) as shown:
            part: list[Document] = []
            number = 0
            for document in dataset.documents(reading):
                part.append(document)
                if len(part) == _PART:
                    self._embed_part(draft, number, part)
                    shown.advance(len(part))
                    part, number = [], number + 1
            if part:
                self._embed_part(draft, number, part)
                shown.advance(len(part))

    def _embed_part(self, draft: Path, number: int, documents: list[Document]) -> None:
        path = draft / f"{number:06}.npz"
        if path.exists():
            return
        model = self.load()
        start = time.perf_counter()
        vectors = model.embed_documents([document.full_text for document in documents])
        seconds = time.perf_counter() - start
        ids = "\n".join(document.id for document in documents).encode()
        temporary = path.with_suffix(".new")
        with temporary.open("wb") as file:
            np.savez(file, vectors=vectors, ids=np.frombuffer(ids, np.uint8), seconds=seconds)
        temporary.replace(path)


class DenseEngine:
    """Embedded documents in a flat faiss index: exact search by inner product."""

    encodes_queries = True

    def __init__(self, system: DenseSystem, entry: Path) -> None:
        import faiss

        self._system = system
        self._faiss = faiss
        self.encoder = Path(system.model).name
        self._ids: list[str] = []
        seconds = 0.0
        self._index: Any = None
        start = time.perf_counter()
        for path in sorted(entry.glob("*.npz")):
            with np.load(path, allow_pickle=False) as part:
                vectors = part["vectors"]
                self._ids += part["ids"].tobytes().decode().split("\n")
                seconds += float(part["seconds"])
            if self._index is None:
                self._index = faiss.IndexFlatIP(vectors.shape[1])
            self._index.add(np.ascontiguousarray(vectors, np.float32))
        self.document_count = len(self._ids)
        self.index_bytes: int | None = self.document_count * self._index.d * 4
        self.times = BuildTimes(seconds + time.perf_counter() - start, seconds)
        self.notes: tuple[str, ...] = ()

    def encode(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return embeddings, shape (queries, dimensions)."""
        return self._system.load().embed_queries([query.text for query in queries])

    def search(self, encoded: NDArray[np.float32], k: int, threads: int) -> list[Scored]:
        """Return the k nearest documents of each query, equal ones by the earlier document."""
        before = self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(threads)
        try:
            scores, numbers = self._index.search(np.ascontiguousarray(encoded), min(k, self.document_count))
        finally:
            self._faiss.omp_set_num_threads(before)
        order = np.lexsort((numbers, -scores), axis=1)
        scores = np.take_along_axis(scores, order, axis=1)
        numbers = np.take_along_axis(numbers, order, axis=1)
        return [
            ([self._ids[number] for number in row], found)
            for row, found in zip(numbers.tolist(), scores, strict=True)
        ]

    def sizes(self, encoded: NDArray[np.float32]) -> Sizes:
        """Return nothing: embeddings have no terms."""
        return Sizes()

    def touched(self, encoded: NDArray[np.float32], k: int) -> Touched:
        """Return the algorithm; every document is read."""
        return Touched(algorithm="faiss flat")

    def explain(self, query: Query, document_id: str) -> list[TermScore] | None:
        """Return None: embeddings have no terms."""
        return None

    def close(self) -> None:
        """Let go of the embeddings."""
        self._index = None


def resolve_model(model: str) -> Path:
    """Return the folder of a sentence-transformers model, downloaded where it is a Hugging Face id.

    An id without an organisation is one of sentence-transformers' own, as that library has it.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    from lsr.encoders.hub import resolve_source

    named = model if "/" in model or "\\" in model else f"sentence-transformers/{model}"
    try:
        return resolve_source(named)
    except UserError as error:
        raise UserError(str(error).replace("--encoder ", "the model ", 1)) from None


def model_fingerprint(model: str) -> str:
    """Return a SHA-256, in hex, of a model's weights, tokenizer and settings, wherever they lie."""
    folder = resolve_model(model)
    digest = hashlib.sha256()
    files = sorted({path for pattern in _WEIGHTS for path in folder.rglob(pattern) if path.is_file()})
    if not files:
        raise UserError(f"The model {model} has no weights or settings in {folder}; name a model's folder.")
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
