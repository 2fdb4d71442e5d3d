"""Vector instructions for Numba kernels, as intrinsics in LLVM's own terms.

Numba leaves vectorising to the compiler, which fails where small integers are multiplied, compared into
bits, or added with saturation. These say it outright. LLVM has the operations for every processor, so
nothing here is particular to one.

Intrinsics take arrays and places and check nothing. The functions below them do, or say what holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
import numba as nb
import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_NEVER_ZERO = ir.Constant(ir.IntType(1), 1)


def _instruction(define: Callable[..., Any]) -> Any:
    """Make an intrinsic that type checkers leave alone: its signature is not that of `define`."""
    return intrinsic(define)


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    proxy: Any = cgutils.create_struct_proxy  # untyped
    return proxy(kind)(context, builder, value=array).data


def _vector(element: Any, lanes: int) -> Any:
    return ir.VectorType(element, lanes)


def _same(element: Any, value: int, lanes: int) -> Any:
    return ir.Constant(_vector(element, lanes), [value] * lanes)


def _splat(builder: Any, value: Any, lanes: int) -> Any:
    kind = _vector(value.type, lanes)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), _same(_I32, 0, lanes))


def _load(builder: Any, data: Any, place: Any, element: Any, lanes: int) -> Any:
    pointer = builder.bitcast(builder.gep(data, [place]), _vector(element, lanes).as_pointer())
    loaded = builder.load(pointer)
    loaded.align = element.width // 8
    return loaded


def _store(builder: Any, value: Any, data: Any, place: Any) -> None:
    pointer = builder.bitcast(builder.gep(data, [place]), value.type.as_pointer())
    builder.store(value, pointer).align = value.type.element.width // 8


def _call(builder: Any, name: str, kinds: list[Any], result: Any, arguments: list[Any]) -> Any:
    """Call one of LLVM's intrinsics, overloaded on `kinds`."""
    signature = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(builder.module.declare_intrinsic(name, kinds, signature), arguments)


@_instruction
def prefetch(_: Any, array: Any, place: Any) -> Any:
    """Ask for the cache line of ``array[place]``; harmless wherever that is."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = _data(context, builder, signature.args[0], arguments[0])
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), _I8.as_pointer())
        hints = [ir.Constant(_I32, hint) for hint in (0, 3, 1)]  # to read, into all caches, data
        _call(builder, "llvm.prefetch", [pointer.type], ir.VoidType(), [pointer, *hints])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


def _row_adder(count: int) -> Any:
    """Return an intrinsic that adds words of some rows of half bytes, weighted, to 64 sums."""
    lanes = 16

    def add(
        _: Any, rows: Any, starts: Any, weights: Any, sums: Any, first: Any, quarter: Any, word: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            rows, starts, weights, sums, first, quarter, word = arguments
            rows = _data(context, builder, signature.args[0], rows)
            sums = _data(context, builder, signature.args[3], sums)
            place = builder.add(first, word)
            places = [builder.add(place, builder.mul(quarter, ir.Constant(_I64, part))) for part in range(4)]
            parts = [_load(builder, sums, place, _I16, lanes) for place in places]
            byte = builder.shl(word, ir.Constant(_I64, 1))
            for j in range(count):
                start = builder.add(builder.extract_value(starts, j), byte)
                words = builder.bitcast(_load(builder, rows, start, _I8, 2 * lanes), _vector(_I16, lanes))
                weight = _splat(builder, builder.extract_value(weights, j), lanes)
                for part in range(4):
                    level = words
                    if part:
                        level = builder.lshr(level, _same(_I16, 4 * part, lanes))
                    if part < 3:
                        level = builder.and_(level, _same(_I16, 15, lanes))
                    parts[part] = builder.add(parts[part], builder.mul(level, weight))
            for place, part in zip(places, parts, strict=True):
                _store(builder, part, sums, place)
            return context.get_dummy_value()

        return types.void(rows, starts, weights, sums, types.intp, types.intp, types.intp), generate

    return _instruction(add)


_add_one = _row_adder(1)
_add_two = _row_adder(2)
_add_four = _row_adder(4)


@_instruction
def _at_least(_: Any, array: Any, place: Any, limit: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = _data(context, builder, signature.args[0], arguments[0])
        values = _load(builder, data, arguments[1], _I16, 64)
        return builder.bitcast(builder.icmp_unsigned(">=", values, _splat(builder, arguments[2], 64)), _I64)

    return types.uint64(array, types.intp, types.uint16), generate


@_instruction
def _highest(_: Any, array: Any, place: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = _data(context, builder, signature.args[0], arguments[0])
        values = _load(builder, data, arguments[1], _I16, 64)
        return _call(builder, "llvm.vector.reduce.umax.v64i16", [], _I16, [values])

    return types.uint16(array, types.intp), generate


@_instruction
def _first_not_below(_: Any, array: Any, place: Any, limit: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = _data(context, builder, signature.args[0], arguments[0])
        values = _load(builder, data, arguments[1], _I16, 16)
        past = builder.icmp_unsigned(">=", values, _splat(builder, arguments[2], 16))
        bits = builder.zext(builder.bitcast(past, _I16), _I64)
        # A seventeenth bit stops the count where all are below.
        bits = builder.or_(bits, ir.Constant(_I64, 1 << 16))
        return _call(builder, "llvm.cttz", [_I64], _I64, [bits, _NEVER_ZERO])

    return types.int64(array, types.intp, types.uint16), generate


@_instruction
def lowest_bit(_: Any, bits: Any) -> Any:
    """Return the number of the lowest bit that is set; `bits`, uint64, is not 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, "llvm.cttz", [_I64], _I64, [*arguments, _NEVER_ZERO])

    return types.int64(types.uint64), generate


@_instruction
def count_bits(_: Any, bits: Any) -> Any:
    """Return how many bits of a uint64 are set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, "llvm.ctpop", [_I64], _I64, list(arguments))

    return types.int64(types.uint64), generate


@_instruction
def add_saturating(_: Any, one: Any, other: Any) -> Any:
    """Return the sum of two uint16, 65,535 where it would be more."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, "llvm.uadd.sat", [_I16], _I16, list(arguments))

    return types.uint16(types.uint16, types.uint16), generate


@nb.njit(nogil=True, cache=True)
def at_least(values: Any, place: Any, limit: Any) -> Any:
    """Return which of the 64 values of a uint16 array from `place` on are at least `limit`, as bits."""
    if place < 0 or place + 64 > len(values):
        return np.uint64(0)
    return _at_least(values, place, np.uint16(limit))


@nb.njit(nogil=True, cache=True)
def highest(values: Any, place: Any) -> Any:
    """Return the highest of the 64 values of a uint16 array from `place` on."""
    if place < 0 or place + 64 > len(values):
        return np.uint16(0)
    return _highest(values, place)


@nb.njit(nogil=True, cache=True)
def seek(values: Any, start: Any, stop: Any, wanted: Any) -> Any:
    """Return the first place in ``start:stop`` of a rising uint16 array whose value is not below `wanted`.

    Looks at 16 values at a time, from `start` on: for places that are close. ``stop <= len(values)``.
    """
    while start < stop:
        if start < 0 or start + 16 > len(values):
            while start < stop and values[start] < wanted:
                start += 1
            return start
        step: Any = _first_not_below(values, start, np.uint16(wanted))
        start += step
        if step < 16:
            break
    return min(start, stop)


@nb.njit(nogil=True, cache=True)
def add_rows(rows: Any, starts: Any, weights: Any, count: Any, sums: Any) -> None:
    """Add rows of half bytes, each times its weight, to uint16 sums, four rows at a time.

    A row's part is ``rows[starts[j]:starts[j] + len(sums) // 2]``; read as 16-bit words, the s-th half byte
    of word w belongs to ``sums[s * len(sums) // 4 + w]``. ``len(sums)`` is a multiple of 64.
    """
    quarter = len(sums) // 4
    for j in range(count):
        if starts[j] < 0 or starts[j] + 2 * quarter > len(rows):
            return
    # Reading ahead by a thousand bytes keeps the processor from waiting for most of each row.
    ahead = 1024
    j = 0
    while j + 4 <= count:
        four = starts[j], starts[j + 1], starts[j + 2], starts[j + 3]
        by = weights[j], weights[j + 1], weights[j + 2], weights[j + 3]
        for word in range(0, quarter, 16):
            if word & 31 == 0:
                for start in four:
                    prefetch(rows, start + 2 * word + ahead)
            _add_four(rows, four, by, sums, 0, quarter, word)
        j += 4
    if j + 2 <= count:
        two = starts[j], starts[j + 1]
        both = weights[j], weights[j + 1]
        for word in range(0, quarter, 16):
            if word & 31 == 0:
                for start in two:
                    prefetch(rows, start + 2 * word + ahead)
            _add_two(rows, two, both, sums, 0, quarter, word)
        j += 2
    if j < count:
        for word in range(0, quarter, 16):
            if word & 31 == 0:
                prefetch(rows, starts[j] + 2 * word + ahead)
            _add_one(rows, (starts[j],), (weights[j],), sums, 0, quarter, word)


@nb.njit(nogil=True, cache=True)
def ask_for(offsets: Any, codes: Any, start: Any, stop: Any) -> None:
    """Have the first of the postings ``start:stop`` fetched while others are worked on.

    A processor foresees the rest of a run once it has seen its beginning, which is most of a short one.
    """
    stop = min(stop, start + 1024, len(offsets))
    for p in range(start, stop, 32):
        prefetch(offsets, p)
    for p in range(start, stop, 64):
        prefetch(codes, p)
