"""CIFF read back by protocol buffers' own library, and through bmp."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from exports.base import Found, Reader, topics

# The fields of common-index-format-v1, by number: name, type, repeated.
_MESSAGES: dict[str, dict[int, tuple[str, str, bool]]] = {
    "Header": {
        1: ("version", "INT32", False),
        2: ("num_postings_lists", "INT32", False),
        3: ("num_docs", "INT32", False),
        4: ("total_postings_lists", "INT32", False),
        5: ("total_docs", "INT32", False),
        6: ("total_terms_in_collection", "INT64", False),
        7: ("average_doclength", "DOUBLE", False),
        8: ("description", "STRING", False),
    },
    "Posting": {1: ("docid", "INT32", False), 2: ("tf", "INT32", False)},
    "PostingsList": {
        1: ("term", "STRING", False),
        2: ("df", "INT64", False),
        3: ("cf", "INT64", False),
        4: ("postings", "Posting", True),
    },
    "DocRecord": {
        1: ("docid", "INT32", False),
        2: ("collection_docid", "STRING", False),
        3: ("doclength", "INT32", False),
    },
}


def messages() -> dict[str, Any]:
    """Return the format's message classes, built from its fields."""
    file = descriptor_pb2.FileDescriptorProto(name="ciff.proto", package="ciff", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind, repeated) in fields.items():
            entry = message.field.add(name=field, number=number)
            entry.label = entry.LABEL_REPEATED if repeated else entry.LABEL_OPTIONAL
            if kind in _MESSAGES:
                entry.type, entry.type_name = entry.TYPE_MESSAGE, f".ciff.{kind}"
            else:
                entry.type = getattr(entry, f"TYPE_{kind}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"ciff.{name}"))
        for name in _MESSAGES
    }


class CiffFile:
    """An open file: the header, then posting lists, then documents, each to be read once and in turn."""

    def __init__(self, path: Path) -> None:
        opened = gzip.open if path.suffix == ".gz" else open
        self._file: Any = opened(path, "rb")
        self._kinds = messages()
        self.header = self._next("Header")

    def _next(self, kind: str) -> Any:
        size, shift = 0, 0
        while True:
            (byte,) = self._file.read(1)
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        content = self._file.read(size)
        assert len(content) == size
        return self._kinds[kind].FromString(content)

    def posting_lists(self) -> Iterator[Any]:
        for _ in range(self.header.num_postings_lists):
            yield self._next("PostingsList")

    def documents(self) -> Iterator[Any]:
        for _ in range(self.header.num_docs):
            yield self._next("DocRecord")
        assert not self._file.read(1), "something follows the last document"


class CiffBruteForce(Reader):
    """Scores by the file's postings and the whole query weights, added as whole numbers."""

    name = "ciff"
    note = "scores added from the file's own postings; query weights are whole numbers up to 32"

    def load(self, export: Path, work: Path) -> None:
        file = CiffFile(export / "index.ciff.gz")
        self.lists: dict[str, list[tuple[int, int]]] = {}
        for entry in file.posting_lists():
            number, postings = 0, []
            for posting in entry.postings:
                number += posting.docid
                postings.append((number, posting.tf))
            assert entry.df == len(postings) and entry.cf == sum(tf for _, tf in postings)
            self.lists[entry.term] = postings
        self.ids = [record.collection_docid for record in file.documents()]

    def answers(self, export: Path, k: int) -> dict[str, Found]:
        found: dict[str, Found] = {}
        for number, weights in topics(export):
            scores: dict[int, int] = {}
            for term, weight in weights.items():
                for document, tf in self.lists.get(term, ()):
                    scores[document] = scores.get(document, 0) + weight * tf
            best = sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:k]
            found[number] = [(self.ids[document], float(score)) for document, score in best]
        return found


class Bmp(Reader):
    """bmp's own converter and search."""

    name = "bmp (from CIFF)"
    note = "bmp 0.2.8, blocks of 8, alpha 1; 16-bit scores"

    def load(self, export: Path, work: Path) -> None:
        import bmp

        plain = work / "index.ciff"
        plain.write_bytes(gzip.decompress((export / "index.ciff.gz").read_bytes()))
        self.folder = work / "bmp"
        bmp.ciff2bmp(ciff_file=str(plain), output=str(self.folder), bsize=8, compress_range=True)
        self.searcher = bmp.Searcher(str(self.folder))

    def answers(self, export: Path, k: int) -> dict[str, Found]:
        found: dict[str, Found] = {}
        for number, weights in topics(export):
            ids, scores = self.searcher.search({t: float(w) for t, w in weights.items()}, k, 1.0, 1.0)
            found[number] = list(zip(map(str, ids), map(float, scores), strict=True))
        return found
