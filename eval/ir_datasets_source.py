"""Test collections that the ir_datasets library knows by an id, downloaded when first used."""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lsr.errors import UserError
from lsr.eval.qrels import Qrels

if TYPE_CHECKING:
    from lsr.eval.datasets import Dataset


def load_ir_dataset(dataset_id: str, split: str | None = None) -> Dataset:
    """Load the queries and judgements of an ir_datasets id; its documents are read when asked for.

    A query is its ``default_text()``, as ir_datasets defines it for every collection.
    """
    from lsr.corpus import Query, estimate_total, read_corpus
    from lsr.eval.datasets import judged_dataset

    if split:
        dataset_id = f"{dataset_id}/{split}"
    source = _registered(dataset_id)
    _check_parts(dataset_id, source)
    with _told_as_user_error(dataset_id):
        queries = [Query(id=query.query_id, text=query.default_text()) for query in source.queries_iter()]
        qrels: Qrels = {}
        for qrel in source.qrels_iter():
            qrels.setdefault(qrel.query_id, {})[qrel.doc_id] = int(qrel.relevance)
    return judged_dataset(
        dataset_id,
        lambda report: read_corpus([dataset_id], report=report),
        queries,
        qrels,
        document_count=estimate_total([dataset_id]),
        source=dataset_id,
        catalogue_id=dataset_id,
    )


def check_id(dataset_id: str) -> None:
    """Raise `UserError` where ir_datasets has no id of that name; nothing is downloaded."""
    _registered(dataset_id)


def _registered(dataset_id: str) -> Any:
    import ir_datasets

    try:
        return ir_datasets.load(dataset_id)
    except (KeyError, ValueError):
        near = difflib.get_close_matches(dataset_id, list(ir_datasets.registry), n=3)
        hint = f"; near it are {', '.join(near)}" if near else ""
        raise UserError(
            f"There is no data set {dataset_id!r}: it is no BEIR folder, no id of ir_datasets and no suite{hint}."
        ) from None


def _check_parts(dataset_id: str, source: Any) -> None:
    if source.has_docs() and source.has_queries() and source.has_qrels():
        return
    import ir_datasets

    parts = [part for part in ir_datasets.registry if part.startswith(f"{dataset_id}/")]
    judged = sorted(part for part in parts if ir_datasets.registry[part].has_qrels())
    hint = f"; with judgements: {', '.join(judged[:8])}" if judged else ""
    raise UserError(
        f"The data set {dataset_id!r} of ir_datasets lacks documents, queries or judgements{hint}."
    )


@contextmanager
def _told_as_user_error(dataset_id: str) -> Iterator[None]:
    """Turn whatever ir_datasets raises while it downloads or parses into one sentence."""
    logger = logging.getLogger("ir_datasets")
    logger.addFilter(_is_not_about_attempts)
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        home = os.environ.get("IR_DATASETS_HOME", "~/.ir_datasets")
        raise UserError(
            f"ir_datasets could not provide the data set {dataset_id!r} ({_reason(error)}); check the "
            f"network and, where the data set asks for one, the password file in {home}/auth, or name a "
            f"folder that holds the same data in BEIR layout."
        ) from error
    finally:
        logger.removeFilter(_is_not_about_attempts)


def _is_not_about_attempts(record: logging.LogRecord) -> bool:
    """Keep licence notices and instructions, drop each attempt at a download that the sentence sums up."""
    attempts = ("[starting]", "[error]", "download error", "Download failed", "If you have a local copy")
    return not record.getMessage().startswith(attempts)


def _reason(error: Exception) -> str:
    url = getattr(getattr(error, "request", None), "url", None)
    if url and isinstance(error, OSError):
        return f"{type(error).__name__} at {url}"
    return " ".join(str(error).split())[:200] or type(error).__name__
