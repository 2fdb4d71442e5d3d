"""Folders of prose, and single files of it: one document a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lsr.corpus.document import Document
from lsr.corpus.markup import split_headed, split_html, split_plain
from lsr.corpus.options import ReadOptions
from lsr.corpus.records import checked_id, checked_text
from lsr.corpus.report import BadDocument, ReadReport
from lsr.corpus.streams import cannot_read, describe_decode_error
from lsr.errors import UserError

SPLITTERS = {
    ".txt": split_plain,
    ".text": split_plain,
    ".md": split_headed,
    ".markdown": split_headed,
    ".rst": split_headed,
    ".html": split_html,
    ".htm": split_html,
    ".xhtml": split_html,
}


def is_prose(path: Path) -> bool:
    """Tell whether a file's name says that it is text, Markdown, reStructuredText or HTML."""
    return path.suffix.lower() in SPLITTERS


def list_files(folder: Path) -> tuple[list[Path], int]:
    """Return (files of prose in sorted order, number of other files) below `folder`.

    Hidden files and folders are left aside, links to folders not followed. Raises `UserError` for a
    folder that cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise cannot_read(str(error.filename or folder), error)

    found: list[Path] = []
    others = 0
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if name.startswith("."):
                continue
            path = Path(parent, name)
            if is_prose(path):
                found.append(path)
            else:
                others += 1
    found.sort(key=lambda path: path.relative_to(folder).as_posix())
    return found, others


def total_size(files: list[Path]) -> int:
    """Return the bytes of `files`; those that vanish meanwhile count nothing."""
    total = 0
    for path in files:
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total


def read_folder(
    folder: Path, files: list[Path], others: int, options: ReadOptions, report: ReadReport
) -> Iterator[Document]:
    """Yield a document a file; ids are paths relative to `folder`, with ``/`` on every system."""
    report.passed_over += others
    for path in files:
        yield from read_file(path, path.relative_to(folder).as_posix(), options, report)


def read_file(path: Path, document_id: str, options: ReadOptions, report: ReadReport) -> Iterator[Document]:
    """Yield the one document of a file of prose, or none when it is bad and such are skipped."""
    if options.id_field or options.title_field or options.text_fields:
        raise UserError(
            f"{path}: is a file of text and has no fields; "
            "leave out --id-field, --title-field and --text-field (the id is its path)."
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise cannot_read(str(path), error) from error
    report.bytes_read += len(data)
    try:
        content = data.decode(options.encoding).removeprefix("\ufeff").replace("\r\n", "\n")
        title, text = SPLITTERS[path.suffix.lower()](content)
        document = Document(
            id=checked_id(document_id, "the file's name"),
            text=checked_text(text, "the text"),
            title=checked_text(title or path.stem, "the title"),
            location=str(path),
        )
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reason = describe_decode_error(error, options.encoding)
        report.bad_document(f"{path}:{line}", reason, skip=options.skip_bad)
    except BadDocument as bad:
        report.bad_document(str(path), str(bad), skip=options.skip_bad)
    else:
        yield document
