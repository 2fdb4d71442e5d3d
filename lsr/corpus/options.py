"""How a corpus is read."""

from __future__ import annotations

from dataclasses import dataclass

from lsr.errors import UserError


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Field names, encoding, and what happens to bad documents.

    A field left None (or empty) is found by its usual names: see `lsr.corpus.records`. Several
    `text_fields` are joined by a line break. `skip_bad` counts bad documents in the `ReadReport`
    and goes on; without it the first one raises `UserError`.
    """

    id_field: str | None = None
    title_field: str | None = None
    text_fields: tuple[str, ...] = ()
    encoding: str = "utf-8"
    skip_bad: bool = False

    def __post_init__(self) -> None:
        try:
            " ".encode(self.encoding).decode(self.encoding)  # refuses hex, rot13 and the like too
        except (LookupError, ValueError) as error:
            raise UserError(
                f"--encoding {self.encoding}: Python knows no such text encoding; "
                "give for example utf-8, cp1252, latin-1 or utf-16."
            ) from error
