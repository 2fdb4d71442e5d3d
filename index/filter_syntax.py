"""Reading a filter's expression: tokens, names of fields, and mistakes that SQLite would not tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from lsr.index.errors import FilterProblem
from lsr.index.fields import FieldType

# A function that is not the user's to call.
WIDENED = "lsr_widened"
# SQLite's names for a row, which are no fields.
_HIDDEN = frozenset(["rowid", "oid", "_rowid_"])
_MOST_CHARACTERS = 100_000
_FIELDS_LISTED = 20

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<comment>--|/\*)
    |(?P<string>'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")*")
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<word>[^\W\d]\w*)
    |(?P<operator><=|>=|<>|!=|==|\|\||<<|>>|[-+*/%<>=~&|(),.])
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_COMPARISONS = {"=", "==", "!=", "<>", "<", "<=", ">", ">=", "BETWEEN", "IN", "IS", "NOT", "("}


class _Token(NamedTuple):
    kind: str
    text: str

    @property
    def name(self) -> str:
        """The name that a word or a name in double quotes stands for."""
        return self.text[1:-1].replace('""', '"') if self.kind == "quoted" else self.text


def fields_of(expression: str, types: Mapping[str, FieldType]) -> frozenset[str]:
    """Return the fields that an expression names, `id` and `title` among them.

    Raises:
        FilterProblem: for what is more than one expression, names that are no fields, and comparisons
            of a field with a value of another type.
    """
    tokens = _tokens(expression, types)
    known = _by_folded_name(types)
    used = set()
    for token, following in zip(tokens, [*tokens[1:], _Token("operator", "")], strict=True):
        if token.kind not in ("word", "quoted") or (token.kind == "word" and following.text == "("):
            continue
        names = known.get(_folded(token.name), [])
        if len(names) > 1:
            shown = " and ".join(names)
            raise FilterProblem(
                f"{told(expression)}: the fields {shown} differ only in case, which a filter can't tell "
                "apart; rename one of them in the corpus."
            )
        # SQLite takes an unknown name in double quotes for a text, and the filter for a good one.
        if not names and token.kind == "quoted":
            raise FilterProblem(
                f"{told(expression)}: there is no field {token.name!r} (text stands in single quotes: "
                f"'{token.name}'); {listed(types)}"
            )
        if not names and token.name.lower() in _HIDDEN:
            raise FilterProblem(f"{told(expression)}: there is no field {token.name!r}; {listed(types)}")
        used.update(names)
    _check_types(expression, tokens, types, known)
    return frozenset(used)


def _tokens(expression: str, types: Mapping[str, FieldType]) -> list[_Token]:
    """Cut an expression into tokens, and refuse what is more than one expression."""
    if not expression.strip():
        raise FilterProblem(f"The filter is empty; {listed(types)}")
    if len(expression) > _MOST_CHARACTERS:
        raise FilterProblem(
            f"The filter has {len(expression):,} characters; at most {_MOST_CHARACTERS:,} are read."
        )
    try:
        expression.encode()
    except UnicodeEncodeError:
        raise FilterProblem("The filter holds bytes that are no UTF-8; write it in UTF-8.") from None
    tokens = []
    depth = 0
    for match in _TOKEN.finditer(expression):
        token = _Token(str(match.lastgroup), match[0])
        if token.kind == "space":
            continue
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if token.text in ("'", '"'):
            raise FilterProblem(f"{told(expression)}: a quote is left open; {listed(types)}")
        if token.kind in ("comment", "other") or depth < 0:
            raise FilterProblem(
                f"{told(expression)}: {token.text!r} has no place in a filter; {listed(types)}"
            )
        if token.kind == "word" and token.text.lower() == WIDENED:
            raise FilterProblem(f"{told(expression)}: there is no function {token.text!r}.")
        tokens.append(token)
    if depth:
        raise FilterProblem(f"{told(expression)}: a bracket is left open; {listed(types)}")
    return tokens


def _by_folded_name(types: Mapping[str, FieldType]) -> dict[str, list[str]]:
    """Return the names of fields by what SQLite takes for the same name."""
    known: dict[str, list[str]] = {}
    for name in types:
        known.setdefault(_folded(name), []).append(name)
    for name in ("id", "title"):
        known.setdefault(name, [name])
    return known


def _folded(name: str) -> str:
    """Return a name as SQLite compares names: A to Z as a to z, other letters as they are."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)


def _check_types(
    expression: str,
    tokens: list[_Token],
    types: Mapping[str, FieldType],
    known: Mapping[str, list[str]],
) -> None:
    """Refuse comparisons of a field with a plain value of another type, which SQLite answers wrongly.

    SQLite compares a text with a number as texts ('999' > '2020'), and holds every number to be
    less than any text.
    """
    for place, token in enumerate(tokens):
        if token.kind not in ("word", "quoted") or tokens[place + 1 : place + 2] == [_Token("operator", "(")]:
            continue
        names = known.get(_folded(token.name), [])
        kind = types.get(names[0], "text") if names else None
        if kind is None:
            continue
        literal = _compared_with(tokens, place)
        if literal is None:
            continue
        name = token.name
        if kind == "list":
            raise FilterProblem(
                f"{told(expression)}: {name} holds lists; ask has({token.text}, {literal.text}) of them."
            )
        if literal.kind == "number" and kind == "text":
            raise FilterProblem(
                f"{told(expression)}: {name} holds text, and {literal.text} is a number; "
                f"write '{literal.text}' to compare texts, or CAST({token.text} AS REAL)."
            )
        if literal.kind == "string" and kind in ("integer", "number", "boolean"):
            try:
                float(literal.text[1:-1])
            except ValueError:
                raise FilterProblem(
                    f"{told(expression)}: {name} holds {'true or false' if kind == 'boolean' else 'numbers'}, "
                    f"and {literal.text} is none."
                ) from None


def _compared_with(tokens: list[_Token], place: int) -> _Token | None:
    """Return the plain value that the field at `place` is compared with, if there is one."""
    after = place + 1
    while after < len(tokens) and tokens[after].text.upper() in _COMPARISONS and after - place <= 3:
        after += 1
    if after > place + 1 and after < len(tokens) and tokens[after].text in "+-":
        after += 1
    if place + 1 < after < len(tokens) and tokens[after].kind in ("number", "string"):
        return None if _goes_on(tokens, after) else tokens[after]
    if place >= 2 and tokens[place - 1].text in _COMPARISONS - {"("}:
        before = tokens[place - 2]
        if before.kind in ("number", "string") and not _goes_on(tokens, place):
            return before
    return None


def _goes_on(tokens: list[_Token], place: int) -> bool:
    """Tell whether a value is part of a larger one: ``'20' || '20'``."""
    return place + 1 < len(tokens) and tokens[place + 1].text in ("+", "-", "*", "/", "%", "||")


def told(expression: str) -> str:
    """Return an expression as messages name it."""
    flat = " ".join(expression.split())
    return f'The filter "{flat if len(flat) <= 120 else flat[:117] + "..."}"'


def listed(types: Mapping[str, FieldType]) -> str:
    """Return the end of a sentence that lists the fields and their types."""
    if not types:
        return "the documents of this index have no fields besides id and title."
    shown = [f"{name} ({kind})" for name, kind in list(types.items())[:_FIELDS_LISTED]]
    more = f" and {len(types) - len(shown)} more" if len(types) > len(shown) else ""
    return f"its fields are {', '.join(shown)}{more}, id and title (text)."
