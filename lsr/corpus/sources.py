"""From what the user names to a stream of documents."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lsr.corpus import folder as prose
from lsr.corpus.document import Document
from lsr.corpus.jsonl import read_jsonl
from lsr.corpus.options import ReadOptions
from lsr.corpus.report import ReadReport
from lsr.corpus.streams import STANDARD_INPUT, cannot_read
from lsr.corpus.tabular import read_table
from lsr.errors import UserError

PYTHON_DOCS = "python-docs"

UNDERSTOOD = (
    "a corpus is a .jsonl, .csv, .tsv (each also as .gz or .zst) or .parquet file, a .txt, .md, .rst or "
    ".html file or a folder of them, a BEIR folder, an ir_datasets id, python-docs, or - for standard input"
)

_COMPRESSED = (".gz", ".zst", ".zstd")
_BEIR_CORPUS = ("corpus.jsonl", "corpus.jsonl.gz", "corpus.jsonl.zst")
_JSON_LINES = (".jsonl", ".ndjson", ".json")

_Read = Callable[[ReadOptions, ReadReport], Iterator[Document]]


@dataclass(frozen=True, slots=True)
class _Source:
    """One corpus, found and ready to be read.

    `size` is in bytes, None where unknown; `count` gives the number of documents where that is cheap.
    """

    read: _Read
    size: int | None = None
    count: Callable[[], int | None] = lambda: None


def read_corpus(
    sources: Sequence[str | Path],
    options: ReadOptions | None = None,
    report: ReadReport | None = None,
) -> Iterator[Document]:
    """Return the documents of all `sources`, one after another, as they are read.

    All sources are looked up before the first document; one that does not exist or is of no known
    kind raises `UserError` at once. Reading raises `UserError` for a bad document, with its
    location, unless ``options.skip_bad``; `report`, if given, counts as reading goes on. Memory
    holds one document (one batch of rows for Parquet), whatever the size of the corpus.
    """
    options = options or ReadOptions()
    report = report if report is not None else ReadReport()
    found = check_sources(sources)
    sizes = [source.size for source in found]
    report.bytes_total = None if None in sizes else sum(size for size in sizes if size is not None)
    return _read_all(found, options, report)


def check_sources(sources: Sequence[str | Path]) -> list[_Source]:
    """Find all sources; one that does not exist or is of no known kind raises `UserError`."""
    return [_find(source) for source in sources]


def _read_all(sources: list[_Source], options: ReadOptions, report: ReadReport) -> Iterator[Document]:
    for source in sources:
        for document in source.read(options, report):
            report.documents += 1
            yield document


def estimate_total(sources: Sequence[str | Path]) -> int | None:
    """Return the number of documents in `sources` where it is cheap to know, else None.

    Parquet files, folders of text and ir_datasets ids know theirs. For JSON Lines and tables,
    `ReadReport.fraction` tells how far the reading is.
    """
    counts = [_find(source).count() for source in sources]
    if not counts or None in counts:
        return None
    return sum(count for count in counts if count is not None)


def _find(source: str | Path) -> _Source:
    if source == STANDARD_INPUT:
        return _Source(lambda options, report: read_jsonl(STANDARD_INPUT, options, report))
    if source == PYTHON_DOCS:
        return _python_docs()
    path = Path(source).expanduser()
    try:
        if path.is_dir():
            return _find_folder(path)
        path.stat()
    except FileNotFoundError:
        return _find_dataset(str(source), path)
    except (OSError, ValueError) as error:
        raise UserError(f"{source}: cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    return _find_file(path)


def _python_docs() -> _Source:
    from lsr.corpus import python_docs

    sources = python_docs.list_sources()
    size = prose.total_size([path for _, path in sources])
    return _Source(lambda options, report: python_docs.read_python_docs(sources, report), size)


def _find_folder(path: Path) -> _Source:
    corpus = beir_corpus(path)
    if corpus is not None:
        return _find_file(corpus)
    files, others = prose.list_files(path)
    if not files:
        raise UserError(
            f"{path}: holds no .txt, .md, .rst or .html file and no BEIR corpus.jsonl; "
            f"name files of other kinds one by one ({UNDERSTOOD})."
        )
    return _Source(
        lambda options, report: prose.read_folder(path, files, others, options, report),
        prose.total_size(files),
        lambda: len(files),
    )


def beir_corpus(folder: Path) -> Path | None:
    """Return the file of documents of a BEIR folder, None for another folder."""
    return next((folder / name for name in _BEIR_CORPUS if (folder / name).is_file()), None)


def is_json_lines(path: Path) -> bool:
    """Tell by its name whether an uncompressed file is read as JSON Lines."""
    return path.suffix.lower() in _JSON_LINES


def _find_file(path: Path) -> _Source:
    size = path.stat().st_size
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise cannot_read(str(path), error) from error
    suffix = path.suffix.lower()
    compressed = suffix in _COMPRESSED
    if compressed:
        suffix = path.with_suffix("").suffix.lower()
    if suffix in _JSON_LINES:
        return _Source(lambda options, report: read_jsonl(path, options, report), size)
    if suffix in (".csv", ".tsv", ".tab"):
        return _Source(lambda options, report: read_table(path, options, report, tabs=suffix != ".csv"), size)
    if suffix in (".parquet", ".pq") and not compressed:
        from lsr.corpus import parquet

        return _Source(
            lambda options, report: parquet.read_parquet(path, options, report),
            size,
            lambda: parquet.count_rows(path),
        )
    if prose.is_prose(path):
        return _Source(
            lambda options, report: prose.read_file(path, path.name, options, report), size, lambda: 1
        )
    raise UserError(f"{path}: of what kind this file is cannot be told by its name; {UNDERSTOOD}.")


def _find_dataset(name: str, path: Path) -> _Source:
    may_be_id = not path.is_absolute() and not name.startswith((".", "~")) and not _has_known_suffix(path)
    if may_be_id:
        from lsr.corpus import ir_collections

        if ir_collections.find_dataset(name) is not None:
            return _Source(
                lambda options, report: ir_collections.read_dataset(name, options, report),
                count=lambda: ir_collections.count_documents(name),
            )
    suggestions = _similar_files(path)
    if may_be_id:
        suggestions += [PYTHON_DOCS] * bool(difflib.get_close_matches(name, [PYTHON_DOCS], cutoff=0.75))
        suggestions += ir_collections.similar_ids(name)
    hint = f" Did you mean {' or '.join(suggestions[:3])}?" if suggestions else ""
    raise UserError(f"{name}: there is no such file, folder or ir_datasets id; {UNDERSTOOD}.{hint}")


def _has_known_suffix(path: Path) -> bool:
    return prose.is_prose(path) or path.suffix.lower() in (
        *_JSON_LINES,
        *_COMPRESSED,
        ".csv",
        ".tsv",
        ".parquet",
    )


def _similar_files(path: Path) -> list[str]:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return []
    return [
        str(path.with_name(name)) for name in difflib.get_close_matches(path.name, names, n=2, cutoff=0.75)
    ]
