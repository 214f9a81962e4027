"""The kernel that finds the likeliest token of each row of logits, and the sum that log-probabilities are divided by.

It goes over a row twice and allocates nothing; torch's operators go over it five times, and fill three tables.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from functools import cache

import torch
from llvmlite import ir

from codegen_lsp.engine.quantized import team
from codegen_lsp.engine.quantized.program import arguments
from codegen_lsp.engine.quantized.writer import F32, I8, I32, I64, KernelWriter, compiled, vector_width

FIELDS = ("rows", "columns", "step", "logits", "banned", "tokens", "results")
"""Numbers of rows, and of logits in each; of floats from one row to the next; addresses: of logits, of a byte for each
token, of each row's likeliest token, and of two floats for each row, its logit and the sum of e^x of the distances from
it."""

LEAST = -math.inf
"""What a banned logit counts as."""

MOST = 2**31 - 1
"""A number above that of every token."""


def likeliest(logits: torch.Tensor, banned: torch.Tensor) -> tuple[list[int], list[float], list[float]]:
    """Return the likeliest token of each row, its logit, and the logarithm of the row's sum of e^x.

    Args:
        logits: (rows, vocabulary) in float32, each row contiguous; they become minus infinity where they are banned.
        banned: (vocabulary), true for tokens that are not chosen.

    Returns:
        three lists with a number for each row; of several likeliest tokens the first one. The logit is NaN if one of
        the row is, and infinite if one is.
    """
    rows, columns = logits.shape
    tokens = (ctypes.c_int64 * rows)()
    results = (ctypes.c_float * (2 * rows))()
    places = logits.data_ptr(), banned.data_ptr(), ctypes.addressof(tokens), ctypes.addressof(results)
    argument = arguments(rows, columns, logits.stride(0), *places)
    team.run(kernel(), ctypes.addressof(argument), 1)
    highest = results[0::2]
    totals = [
        top + math.log(rest) if rest > 0 else math.nan
        for top, rest in zip(highest, results[1::2], strict=True)
    ]
    return list(tokens), highest, totals


@cache
def kernel() -> int:
    """Return the address of the kernel, for one thread."""
    return compiled(_Likeliest().module)


class _Likeliest(KernelWriter):
    """Writes the kernel."""

    def __init__(self) -> None:
        super().__init__(len(FIELDS), vector_width())
        rows, self.columns, self.step, *addresses = self.fields
        self.logits, self.banned, self.tokens, self.results = self.pointers(addresses)
        self.integers = ir.VectorType(I32, self.width)
        self.loop(I64(0), rows, 1, (), self._row)
        self.builder.ret_void()

    def _row(self, row: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
        b = self.builder
        start = b.mul(row, self.step)
        whole = b.sub(self.columns, b.srem(self.columns, I64(self.width)))

        def look(place: ir.Value, state: Sequence[ir.Value]) -> Sequence[ir.Value]:
            flags = self.load(ir.VectorType(I8, self.width), self.banned, place, I8)
            is_banned = b.icmp_signed("!=", flags, ir.Constant(flags.type, [0] * self.width))
            values = self.load(self.vector, self.logits, b.add(start, place), F32)
            values = b.select(is_banned, self.constant(LEAST), values)
            self.store(values, self.logits, b.add(start, place))
            return self._compared(values, self._numbers(place), state)

        def look_last(place: ir.Value, state: Sequence[ir.Value]) -> Sequence[ir.Value]:
            is_banned = b.icmp_signed("!=", self.load(I8, self.banned, place), I8(0))
            value = self.load(F32, self.logits, b.add(start, place))
            value = b.select(is_banned, F32(LEAST), value)
            self.store(value, self.logits, b.add(start, place))
            return self._compared(self._first(value), self._numbers(place), state)

        none = ir.Constant(self.integers, [MOST] * self.width)
        state = self.loop(I64(0), whole, self.width, [self.constant(LEAST), none, self.constant(0.0)], look)
        highest, numbers, broken = self.loop(whole, self.columns, 1, state, look_last)
        peak = self.everywhere(self.largest(highest))
        self._keep_token(row, b.select(b.fcmp_ordered("==", highest, peak), numbers, none))

        def add(place: ir.Value, sums: Sequence[ir.Value]) -> Sequence[ir.Value]:
            values = self.load(self.vector, self.logits, b.add(start, place), F32)
            return [b.fadd(sums[0], self.exponential(b.fsub(values, peak)))]

        def add_last(place: ir.Value, sums: Sequence[ir.Value]) -> Sequence[ir.Value]:
            value = self._first(self.load(F32, self.logits, b.add(start, place)))
            return [b.fadd(sums[0], self.exponential(b.fsub(value, peak)))]

        sums = self.loop(I64(0), whole, self.width, self.zeros(1), add)
        total = self.total(self.loop(whole, self.columns, 1, sums, add_last))
        is_broken = b.fcmp_ordered(">", self.total([broken]), F32(0.0))
        first = b.extract_element(peak, I32(0))
        target = b.mul(row, I64(2))
        self.store(b.select(is_broken, F32(math.nan), first), self.results, target)
        self.store(total, self.results, b.add(target, I64(1)))
        return ()

    def _compared(self, values: ir.Value, numbers: ir.Value, state: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Return the highest value of each lane so far, its number, and whether one was no number."""
        b, (highest, found, broken) = self.builder, state
        is_higher = b.fcmp_ordered(">", values, highest)
        is_broken = b.fcmp_unordered("uno", values, values)
        return [
            b.select(is_higher, values, highest),
            b.select(is_higher, numbers, found),
            b.select(is_broken, self.constant(1.0), broken),
        ]

    def _numbers(self, place: ir.Value) -> ir.Value:
        """Return the numbers of the tokens in a vector that starts at a place."""
        b = self.builder
        lanes = ir.Constant(self.integers, list(range(self.width)))
        return b.add(self.everywhere(b.trunc(place, I32), self.integers), lanes)

    def _first(self, value: ir.Value) -> ir.Value:
        """Return a vector with a value in its first lane, and minus infinity in the others."""
        return self.builder.insert_element(self.constant(LEAST), value, I32(0))

    def _keep_token(self, row: ir.Value, numbers: ir.Value) -> None:
        """Store the smallest of the numbers."""
        name, kind = f"llvm.vector.reduce.smin.v{self.width}i32", ir.FunctionType(I32, [self.integers])
        smallest = self.builder.call(self.intrinsic(name, kind), [numbers])
        self.store(self.builder.zext(smallest, I64), self.tokens, row, I64)
