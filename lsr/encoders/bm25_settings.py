"""The settings of the ``bm25`` encoder: names, choices, defaults."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError

NONE = "none"


@dataclass(frozen=True, slots=True)
class Bm25Settings:
    """What changes a bm25 vector.

    `tokens` is ``words`` (then `stop_words` is ``english`` or ``none`` and `stemmer` a Snowball
    language or ``none``) or ``pieces`` (then `tokenizer` is a ``tokenizer.json``, a folder holding
    one, or a Hugging Face id). `max_length` counts tokens before stop words are dropped; None reads
    documents whole. `k1` and `b` were chosen once, on one grid over eight collections.
    """

    tokens: Literal["words", "pieces"] = "words"
    stop_words: Literal["english", "none"] = "english"
    stemmer: str = "english"
    tokenizer: str | None = None
    k1: float = 1.2
    b: float = 0.75
    max_length: int | None = None

    @classmethod
    def from_options(cls, options: EncoderOptions) -> Bm25Settings:
        """Check the options of a command or of `lsr.load_encoder`; raises `UserError`."""
        if options.max_terms is not None:
            raise UserError(
                "--max-terms does not go with bm25: its weights are term frequencies, and leaving out "
                "terms would change the document's length; leave the option out."
            )
        if options.idf == "training":
            raise UserError("--idf training does not go with bm25: its IDF is that of the indexed documents.")
        if options.long_documents == "windows":
            raise UserError("--long-documents windows does not go with bm25, which reads documents whole.")
        if "max_length" in options.settings:
            raise UserError("bm25: max_length is given with --max-length, as for every encoder.")
        return cls.from_values({**options.settings, "max_length": options.max_length})

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Bm25Settings:
        """Check settings by name; an unknown name or value raises `UserError` with the choices."""
        names = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                raise UserError(f"bm25 has no setting {name!r}; its settings are {', '.join(names)}.")
        settings = cls(**values)
        _check_choice("tokens", settings.tokens, ["words", "pieces"])
        _check_choice("stop_words", settings.stop_words, ["english", NONE])
        if settings.tokens == "words":
            if settings.tokenizer is not None:
                raise UserError("bm25: tokenizer=... is for tokens=pieces; give that too, or leave it out.")
            _check_choice("stemmer", settings.stemmer, [*stemmer_languages(), NONE])
        else:
            if settings.tokenizer is None:
                raise UserError(
                    "bm25: tokens=pieces needs tokenizer=PATH_OR_ID, a tokenizer.json, a folder with one, "
                    "or a Hugging Face id such as bert-base-uncased."
                )
            for name in ("stop_words", "stemmer"):
                if name in values and values[name] != NONE:
                    raise UserError(f"bm25: {name}={values[name]} is for tokens=words; leave it out.")
            tokenizer = str(settings.tokenizer)
            settings = dataclasses.replace(settings, stop_words="none", stemmer=NONE, tokenizer=tokenizer)
        k1 = _number("k1", settings.k1, "at least 0", 0.0, math.inf)
        b = _number("b", settings.b, "from 0 to 1", 0.0, 1.0)
        return dataclasses.replace(settings, k1=k1, b=b)

    def as_values(self) -> dict[str, Any]:
        """Return the settings by name, as JSON values; `from_values` takes them back."""
        return dataclasses.asdict(self)


def stemmer_languages() -> list[str]:
    """Return the names of the Snowball stemmers that are installed."""
    import Stemmer

    return list(Stemmer.algorithms())


def _check_choice(name: str, value: Any, choices: list[str]) -> None:
    if value not in choices:
        raise UserError(f"bm25: {name}={value} is not among {', '.join(choices)}.")


def _number(name: str, value: Any, wanted: str, low: float, high: float) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not low <= value <= high or not math.isfinite(value):
        raise UserError(f"bm25: {name}={value} is not a number {wanted}.")
    return float(value)
