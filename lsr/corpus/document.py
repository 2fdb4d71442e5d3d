"""The record that every corpus reader yields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a corpus.

    `vector` holds term weights where the corpus was encoded elsewhere (Anserini JSON vectors).
    `location` says where the document was read, ``FILE:LINE`` or a path, for messages. `untyped`
    says that the strings in `metadata` are cells of a table without types, where a number may stand
    as a string.
    """

    id: str
    text: str
    title: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    vector: dict[str, float] | None = None
    location: str = ""
    untyped: bool = False

    @property
    def full_text(self) -> str:
        """The title put before the text, which is what encoders read."""
        return f"{self.title} {self.text}" if self.title and self.text else self.title or self.text
