"""Where a checkpoint lies: a folder as it is, or a Hugging Face id downloaded to the cache."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lsr.encoders.built_in import BUILT_IN, built_in_folder
from lsr.errors import UserError

# Weights only as safetensors: pickles are never fetched, let alone opened.
_WANTED = ["*.json", "*.txt", "*.model", "*.safetensors"]
_UNWANTED = ["onnx/*", "openvino/*", "*checkpoint-*/*"]
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def resolve_source(source: str, revision: str | None = None) -> Path:
    """Return the absolute folder of the checkpoint `source`, a folder or a Hugging Face id.

    The names in `lsr.encoders.built_in.BUILT_IN` are the package's own models, which need no network.
    Raises `UserError` where there is neither: no such folder, no such id or revision, a gated
    repository, no network.
    """
    if source in BUILT_IN:
        return built_in_folder(source)
    path = Path(source).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.exists():
        raise UserError(
            f"--encoder {source} is a file; give the folder that holds config.json and the weights."
        )
    looks_like_path = source.startswith((".", "/", "~")) or source.endswith(("/", os.sep)) or "\\" in source
    if looks_like_path or not _HUB_ID.fullmatch(source):
        raise UserError(
            f"--encoder {source}: there is no such folder; give bm25, default, a folder, or a Hugging Face id."
        )
    return _download(source, revision)


def _download(source: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(
            snapshot_download(source, revision=revision, allow_patterns=_WANTED, ignore_patterns=_UNWANTED)
        ).resolve()
    except GatedRepoError:
        raise UserError(
            f"--encoder {source} is gated: accept its terms at https://huggingface.co/{source} and log in "
            "with `hf auth login`, or choose another model."
        ) from None
    except RevisionNotFoundError:
        raise UserError(
            f"--encoder {source} has no revision {revision!r}; leave revision out or name another."
        ) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"--encoder {source} is neither a folder here nor a model on Hugging Face that you may read; "
            "check the name, or log in with `hf auth login` if it is private."
        ) from None
    except LocalEntryNotFoundError:
        raise UserError(_unreachable(source)) from None
    except Exception as error:
        # The hub's client lets errors of its HTTP library through, and which library differs by version.
        if isinstance(error, OSError | ConnectionError) or type(error).__module__.split(".")[0] in (
            "httpx",
            "httpcore",
            "requests",
            "huggingface_hub",
        ):
            raise UserError(_unreachable(source)) from error
        raise


def _unreachable(source: str) -> str:
    return (
        f"--encoder {source} is no folder here, is not in the Hugging Face cache, and huggingface.co cannot "
        "be reached; connect, or give the path of a downloaded folder."
    )
