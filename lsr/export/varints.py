"""Protocol buffers' variable-length integers, many at once."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray


def varint(value: int) -> bytes:
    """Return one integer of at least 0."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


@nb.njit(nogil=True, cache=True)
def _put(buffer: Any, place: Any, value: Any) -> Any:
    while value > 0x7F:
        buffer[place] = value & 0x7F | 0x80
        value >>= 7
        place += 1
    buffer[place] = value
    return place + 1


@nb.njit(nogil=True, cache=True)
def _length(value: Any) -> Any:
    length = 1
    while value > 0x7F:
        value >>= 7
        length += 1
    return length


@nb.njit(nogil=True, cache=True)
def _pairs(tag: Any, firsts: Any, seconds: Any, buffer: Any) -> Any:
    place = 0
    for i in range(len(firsts)):
        buffer[place] = tag
        # A pair has at most 22 bytes, whose number is one byte.
        buffer[place + 1] = 2 + _length(firsts[i]) + _length(seconds[i])
        buffer[place + 2] = 0x08
        place = _put(buffer, place + 3, firsts[i])
        buffer[place] = 0x10
        place = _put(buffer, place + 1, seconds[i])
    return place


def pair_messages(field: int, firsts: NDArray[np.int64], seconds: NDArray[np.int64]) -> bytes:
    """Return messages of two integers (fields 1 and 2), each as the field `field` (below 16) of another."""
    buffer = np.empty(24 * len(firsts), np.uint8)
    size = _pairs(field << 3 | 2, firsts, seconds, buffer)
    return buffer[:size].tobytes()


def integer_field(field: int, value: int) -> bytes:
    """Return an integer of at least 0 as the field `field` of a message."""
    return varint(field << 3) + varint(value)


def bytes_field(field: int, value: bytes) -> bytes:
    """Return a string or bytes as the field `field` of a message."""
    return varint(field << 3 | 2) + varint(len(value)) + value


def delimited(message: bytes) -> bytes:
    """Return a message with its length before it, as streams of messages have it."""
    return varint(len(message)) + message
