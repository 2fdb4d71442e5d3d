"""From an index to an engine: as files in a folder, or over its network interface."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lsr.corpus.queries import Query
from lsr.encoders.loading import load_query_encoder
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError
from lsr.export.engine import Engine, check_collection_name, collection_name, engine_for
from lsr.export.query_side import write_query_side
from lsr.export.source import ExportSource
from lsr.index import open_index
from lsr.retrieval.searcher import Searcher
from lsr.whole_folder import written_whole


@dataclass(frozen=True)
class ExportReport:
    """What an export came to; `target` is the folder or the URL, `bytes` those of files."""

    engine: str
    target: str
    collection: str
    documents: int
    queries: int
    bytes: int
    seconds: float
    notes: tuple[str, ...]


def export_index(
    index: str | Path,
    engine: str,
    folder: str | Path,
    *,
    collection: str | None = None,
    options: EncoderOptions | None = None,
    queries: Sequence[Query] = (),
    k: int = 10,
    store_texts: bool = True,
    progress: Callable[[int], None] | None = None,
) -> ExportReport:
    """Write an index's live documents in the form of another engine.

    The folder appears whole or not at all, with a ``README.md`` that says how it is loaded and how
    queries are put, the query encoder, and each term's weight. Memory stays bounded.

    Args:
        index: the folder of the index.
        engine: one of `lsr.export.engine.ENGINES`.
        folder: where the files are to be; must not exist or be empty.
        collection: what the engine is to call it; None takes the index's name.
        options: of the query encoder: ``idf``, ``device`` and the like.
        queries: written in the engine's form beside the documents.
        k: hits that these queries ask for.
        store_texts: export titles, texts and fields too.

    Raises:
        UserError: where the folder is taken, or a document does not fit the engine.
        lsr.index.IndexProblem: where the index is none or damaged.
    """
    start = time.perf_counter()
    with Searcher(index, options=options) as searcher:
        source = ExportSource(searcher.index, searcher.encoder, store_texts, progress)
        target = _target(source, engine, collection)
        with written_whole(Path(folder), "export to") as draft:
            target.write(draft)
            side = write_query_side(target, draft)
            if queries:
                _write_queries(target, searcher, queries, k, draft)
            (draft / "README.md").write_text(_readme(target, side, draft), encoding="utf-8")
            size = sum(path.stat().st_size for path in draft.rglob("*") if path.is_file())
        return _report(target, str(folder), start, size, len(queries))


def load_into_engine(
    index: str | Path,
    engine: str,
    url: str,
    *,
    collection: str | None = None,
    store_texts: bool = True,
    progress: Callable[[int], None] | None = None,
) -> ExportReport:
    """Create a collection in a running engine and load an index's live documents into it.

    Where loading fails the collection is dropped again; one that exists already is refused.

    Raises:
        UserError: where the engine cannot be reached, or its client is not installed.
    """
    from lsr.export.live import live_engine

    start = time.perf_counter()
    with open_index(index) as opened:
        source = ExportSource(opened, load_query_encoder(opened.encoder_folder), store_texts, progress)
        target = _target(source, engine, collection)
        with live_engine(target, url) as live:
            live.load()
        return _report(target, url, start, 0, 0)


def _target(source: ExportSource, engine: str, collection: str | None) -> Engine:
    name = collection or collection_name(source.index.folder)
    check_collection_name(name)
    if not source.index.document_count:
        raise UserError(f"{source.index.folder} has no documents to export.")
    return engine_for(engine, source, name)


def _report(engine: Engine, target: str, start: float, size: int, queries: int) -> ExportReport:
    index = engine.source.index
    return ExportReport(
        engine=engine.name,
        target=target,
        collection=engine.collection,
        documents=index.document_count,
        queries=queries,
        bytes=size,
        seconds=time.perf_counter() - start,
        notes=tuple(engine.notes),
    )


def _write_queries(
    engine: Engine, searcher: Searcher, queries: Sequence[Query], k: int, folder: Path
) -> None:
    """Write ``queries.jsonl``, an id and a request a line, or ``queries.tsv`` where queries are text."""
    weights = searcher.query_weights(queries)
    forms = [engine.query(weights[row : row + 1], k) for row in range(len(queries))]
    if all(isinstance(form, str) for form in forms):
        lines = [f"{query.id}\t{form}" for query, form in zip(queries, forms, strict=True)]
        (folder / "queries.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return
    with (folder / "queries.jsonl").open("w", encoding="utf-8") as file:
        for query, form in zip(queries, forms, strict=True):
            file.write(json.dumps({"id": query.id, "request": form}, ensure_ascii=False) + "\n")


def _readme(engine: Engine, side: str, folder: Path) -> str:
    index = engine.source.index
    grid = index.manifest.grid
    text = (
        f"# {engine.collection} for {engine.title}\n\n"
        f"{index.document_count:,} documents of an lsr index filled by {index.manifest.encoder['name']}; impacts of "
        f"{grid.bits} bits up to {grid.maximum:.6g}.\nDeleted documents are left out.\n\n"
    )
    file = next((name for name in ("queries.jsonl", "queries.tsv") if (folder / name).exists()), None)
    tail = f"\n`{file}`: the queries given with --queries, in this form.\n" if file else ""
    return text + engine.guide() + tail + "\n" + side
