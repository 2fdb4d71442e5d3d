"""Our own encoders and index."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lsr.encoders.built_in import DEFAULT_ENCODER
from lsr.encoders.options import EncoderOptions
from lsr.eval.environment import indexing_code, ranking_code
from lsr.eval.rankings import Scored
from lsr.eval.systems.base import BuildTimes, Sizes, Touched, Workspace

if TYPE_CHECKING:
    from lsr.corpus import Query
    from lsr.encoders.base import Encoder
    from lsr.index import Hits
    from lsr.retrieval import Searcher, TermScore

_BUILD = "build.json"


class SparseSystem:
    """An encoder of ours, its index and its search.

    Args:
        label: what tables call it.
        encoder: a name, a folder, a Hugging Face id, or an encoder; None is ``default-tiny``, or the vectors of
            a corpus that holds some.
        options: how it is loaded and run.
        store_texts: whether the index keeps the documents' texts, for systems that read them again.
    """

    def __init__(
        self,
        label: str,
        encoder: str | Path | Encoder | None = None,
        options: EncoderOptions | None = None,
        spec: str | None = None,
        store_texts: bool = False,
    ) -> None:
        self.label = label
        self.spec = spec or str(getattr(encoder, "name", encoder) or DEFAULT_ENCODER)
        self._source = encoder
        self._options = options or EncoderOptions()
        self._store_texts = store_texts
        self._loaded: Encoder | None = None

    def encoder(self) -> Encoder | None:
        """Return the encoder, loaded; None where the corpus decides."""
        if self._source is None:
            return None
        if not isinstance(self._source, (str, Path)):
            return self._source
        from lsr.encoders import load_encoder

        # The vocabulary of bm25 grows with a corpus: each index gets an encoder of its own (a learned one
        # forgets another corpus's words by itself). The index serves any IDF; which one queries take is
        # said when it is opened.
        if self._loaded is None or self._loaded.weighting == "frequency":
            self._loaded = load_encoder(self._source, replace(self._options, idf=None))
        return self._loaded

    @cached_property
    def _default(self) -> Encoder:
        from lsr.encoders import load_encoder

        return load_encoder(DEFAULT_ENCODER, replace(self._options, idf=None))

    def identity(self) -> dict[str, Any]:
        """Return what its rankings depend on, the encoder's fingerprint and settings first of all."""
        encoder = self.encoder()
        if encoder is None:
            # Vectors that the corpus brings, else the default model's.
            return {
                "kind": "sparse",
                "encoder": None,
                "fingerprint": self._default.fingerprint(),
                "settings": self._default.settings,
                "idf": self._options.idf,
                "code": ranking_code(),
            }
        return {
            "kind": "sparse",
            "encoder": Path(str(encoder.name)).name,
            "fingerprint": encoder.fingerprint(),
            # Those of a checkpoint say where it lies; the fingerprint says what it is.
            "settings": {name: value for name, value in encoder.settings.items() if name != "tokenizer"},
            "idf": self._options.idf,
            "code": ranking_code(),
        }

    def _index_identity(self) -> dict[str, Any]:
        """Return what the index depends on. Queries may still be weighted by another IDF."""
        return {**self.identity(), "idf": None, "code": indexing_code()}

    def open(self, workspace: Workspace) -> Any:
        """Open the data set's index, a `SparseEngine`, built where it is not there yet."""
        return self._open(workspace)

    def _open(self, workspace: Workspace) -> SparseEngine:
        from lsr.retrieval import Searcher

        asked: str | Path | Encoder | None = None
        if workspace.index is None:
            key = {
                **self._index_identity(),
                "documents": workspace.checksums.documents,
                "texts": self._store_texts,
            }
            label = f"{workspace.dataset.file_name}.{key['encoder'] or 'vectors'}"
            entry = workspace.cache.entry("indexes", label, key, partial(self._build, workspace))
            folder, record = entry / "index", entry / _BUILD
        else:
            folder = workspace.index
            record = None
            if not folder.exists():
                built = self._build(workspace, folder.parent, folder)
            else:
                built, asked = None, self._source
        if record is not None:
            built = json.loads(record.read_text(encoding="utf-8"))
        searcher = Searcher(folder, encoder=asked, options=self._options, threads=workspace.threads)
        return SparseEngine(searcher, built)

    def _build(self, workspace: Workspace, draft: Path, folder: Path | None = None) -> dict[str, Any]:
        """Index a data set's documents into ``draft/index``, or into `folder`; return its times."""
        from lsr.corpus import ReadReport
        from lsr.retrieval import build_index

        dataset = workspace.dataset
        reading = ReadReport()
        encoder = self.encoder()
        with workspace.progress(
            f"Indexing {dataset.name} with {self.label}",
            total=dataset.document_count,
            fraction=lambda: reading.fraction,
        ) as shown:
            report = build_index(
                dataset.documents(reading),
                folder or draft / "index",
                encoder,
                options=self._options,
                store_texts=self._store_texts or folder is not None,
                # What is encoded in no time is not worth keeping.
                resume=folder is None and encoder is not None and encoder.weighting == "impact",
                overwrite=folder is None,
                progress=shown.advance,
            )
        built = {
            "seconds": report.seconds,
            "encode_seconds": report.encode_seconds,
            "cut": report.cut_documents,
            # An interrupted run had encoded some, so that this one's time is not that of all.
            "resumed": report.resumed_documents,
        }
        if folder is None:
            (draft / _BUILD).write_text(json.dumps(built), encoding="utf-8")
        return built


class SparseEngine:
    """One of our indexes and its query encoder."""

    encodes_queries = True

    def __init__(self, searcher: Searcher, built: dict[str, Any] | None) -> None:
        self.searcher = searcher
        self.index = searcher.index
        self.encoder = str(self.index.manifest.encoder["name"])
        self.document_count = self.index.document_count
        self.index_bytes: int | None = self.index.sizes()["postings"]
        self.times = BuildTimes()
        self.notes: tuple[str, ...] = ()
        if built is not None:
            if not built["resumed"]:
                self.times = BuildTimes(built["seconds"], built["encode_seconds"])
            if built["cut"]:
                self.notes += (f"{built['cut']:,} documents are longer than the encoder reads and were cut",)

    def encode(self, queries: Sequence[Query]) -> sparse.csr_array:
        """Return query weights, shape (queries, vocabulary); vectors that queries came with as they are."""
        vectors = [query.vector for query in queries if query.vector is not None]
        if vectors and len(vectors) == len(queries):
            return self.searcher.vector_queries(vectors)
        return self.searcher.encode_queries([query.text for query in queries])

    def search(self, encoded: sparse.csr_array, k: int, threads: int) -> list[Scored]:
        """Return the k best documents of each query by the index's own choice of algorithm."""
        found = self.index.search(encoded, k, threads=threads)
        return list(zip(self._ids(found), (hits.scores for hits in found), strict=True))

    def sizes(self, encoded: sparse.csr_array) -> Sizes:
        """Return terms a document and a query, and FLOPS."""
        from lsr.eval.sparsity import measure_sparsity

        sparsity = measure_sparsity(self.index, encoded)
        return Sizes(sparsity.mean_document_terms, sparsity.mean_query_terms, sparsity.flops)

    def touched(self, encoded: sparse.csr_array, k: int) -> Touched:
        """Return postings read and blocks scored."""
        costs = [cost for query in self.index.costs(encoded, k) for cost in query]
        count = max(encoded.shape[0], 1)
        return Touched(
            sum(cost.postings for cost in costs) / count,
            sum(cost.blocks for cost in costs) / count,
            ", ".join(sorted({cost.algorithm for cost in costs})),
        )

    def document_weights(self) -> sparse.csr_array:
        """Return what the index holds of every document, shape (documents, vocabulary), in memory."""
        rows, columns, data = [], [], []
        base = 0
        for postings in self.index.postings:
            terms = np.flatnonzero(postings.document_frequencies(np.arange(postings.term_count)))
            for term in terms.tolist():
                documents, codes = postings.documents_of(term)
                rows.append(base + documents)
                columns.append(np.full(len(documents), term, np.int32))
                data.append(postings.grid.decode(codes))
            base += postings.document_count
        places = (
            np.concatenate([*rows, np.empty(0, np.int64)]),
            np.concatenate([*columns, np.empty(0, np.int32)]),
        )
        values = np.concatenate([*data, np.empty(0, np.float32)])
        return sparse.csr_array((values, places), shape=(base, self.index.vocabulary_size))

    def explain(self, query: Query, document_id: str) -> list[TermScore] | None:
        """Return what each term earned a document."""
        from lsr.eval.explanations import explain_document

        return explain_document(self.searcher, query, document_id)

    def close(self) -> None:
        """Close the index."""
        self.searcher.close()

    def _ids(self, found: Sequence[Hits]) -> list[list[str]]:
        """Return the document ids of each ranking, looking up every document once."""
        numbers: NDArray[np.int64] = np.concatenate([hits.documents for hits in found])
        distinct, places = np.unique(numbers, return_inverse=True)
        names = self.searcher.document_ids(distinct)
        ends = np.cumsum([len(hits.documents) for hits in found])[:-1]
        return [[names[place] for place in part.tolist()] for part in np.split(places, ends)]
