"""Relevance judgements: BEIR's three columns or TREC's four."""

from __future__ import annotations

from pathlib import Path

from lsr.errors import UserError

Qrels = dict[str, dict[str, int]]
"""For each query the score of each judged document; 1 and above is relevant."""

_SCORE_HEADINGS = frozenset({"score", "relevance", "rel", "label", "judgment", "judgement"})


def read_qrels(path: str | Path) -> Qrels:
    """Read judgements: ``query document score`` (BEIR) or ``query iteration document score`` (TREC).

    Columns are separated by tabs, or by any white space in a line without tabs. A heading in the
    first line is skipped. Where a pair is judged twice the later line holds, as in BEIR.
    """
    qrels: Qrels = {}
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                line = line.rstrip("\r\n")
                if not line.strip():
                    continue
                columns = [column.strip() for column in (line.split("\t") if "\t" in line else line.split())]
                if len(columns) not in (3, 4):
                    raise UserError(
                        f"{path}:{number}: judgements have 3 columns (query, document, score) or TREC's 4, "
                        f"this line has {len(columns)}."
                    )
                if number == 1 and columns[-1].lower() in _SCORE_HEADINGS:
                    continue
                query_id, document_id = columns[0], columns[-2]
                if not query_id or not document_id:
                    raise UserError(f"{path}:{number}: the query id or the document id is empty.")
                qrels.setdefault(query_id, {})[document_id] = _score(columns[-1], f"{path}:{number}")
    except OSError as error:
        raise UserError(f"The judgements {path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"The judgements {path} are not UTF-8 text.") from error
    if not qrels:
        raise UserError(f"{path} holds no judgements.")
    return qrels


def _score(text: str, location: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{location}: the score {text!r} is not a whole number.") from None
