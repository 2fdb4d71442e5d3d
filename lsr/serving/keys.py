"""API keys: who may read and who may write."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable
from pathlib import Path

from lsr.errors import UserError

LEAST_CHARACTERS = 16


class Keys:
    """Keys for writing and for reading; what may write may read.

    Without keys for reading everybody may read; without keys for writing nobody may write. Only digests
    are kept, and a key is compared with all of them in a time that tells nothing.
    """

    def __init__(self, write: Iterable[str] = (), read: Iterable[str] = ()) -> None:
        self._write = [_digest(key) for key in write]
        self._read = [_digest(key) for key in read]

    @property
    def writable(self) -> bool:
        """Whether anybody may write."""
        return bool(self._write)

    @property
    def reading_needs_key(self) -> bool:
        """Whether reading takes a key."""
        return bool(self._read)

    def may_write(self, key: str | None) -> bool:
        """Tell whether a key permits writing."""
        return key is not None and _is_among(key, self._write)

    def may_read(self, key: str | None) -> bool:
        """Tell whether a key, or none, permits reading."""
        return not self._read or (key is not None and _is_among(key, self._read + self._write))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _is_among(key: str, digests: list[bytes]) -> bool:
    given = _digest(key)
    found = False
    for digest in digests:
        found |= hmac.compare_digest(given, digest)
    return found


def read_keys(variable: str, file: str | None, option: str) -> list[str]:
    """Return keys from an environment variable (parted by commas) and from a file (one a line).

    Raises:
        UserError: for a file that cannot be read or holds none, and a key that is too short or holds
            what a header cannot carry.
    """
    keys = [key.strip() for key in os.environ.get(variable, "").split(",")]
    if file is not None:
        try:
            lines = Path(file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            raise UserError(f"{option} {file} cannot be read: {reason}.") from None
        in_file = [line.strip() for line in lines if not line.lstrip().startswith("#")]
        if not any(in_file):
            raise UserError(f"{option} {file} holds no key; put one on a line.")
        keys += in_file
    keys = [key for key in keys if key]
    for place, key in enumerate(keys, 1):
        if len(key) < LEAST_CHARACTERS or not key.isascii() or not key.isprintable() or " " in key:
            raise UserError(
                f"Key {place} of {variable} or {option} is not usable: keys are at least {LEAST_CHARACTERS} "
                "characters of ASCII without spaces. Make one with: openssl rand -hex 32"
            )
    return keys
