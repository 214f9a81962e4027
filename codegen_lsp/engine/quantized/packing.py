"""Activations as integers of 16 bits, with one scale for each row.

A step of such a number is 1/32767 of the row's largest one: the rounding is far below that of int8 weights, and
products of integers are summed up exactly, whatever the order. Processors multiply and add pairs of them in one
instruction.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from llvmlite import ir

from codegen_lsp.engine.quantized.formats import GROUP, padded
from codegen_lsp.engine.quantized.product_kernels import amx
from codegen_lsp.engine.quantized.writer import (
    F32,
    I8,
    I16,
    I32,
    I64,
    KernelWriter,
    compiled,
    vector_width,
)

FIELDS = ("rows", "width", "room", "sources", "source_step", "targets", "scales", "sums", "planes")
"""Numbers of rows, and of floats in each; of integers from one row to the next; floats; the number of floats from one
row to the next; the integers, their scales, the sums of their groups, and their planes."""

LARGEST = 32767.0


@dataclass(frozen=True, slots=True)
class PackedRows:
    """Rows of integers (rows, padded width) and a scale for each."""

    integers: torch.Tensor
    scales: torch.Tensor
    sums: torch.Tensor
    """The sum of the integers of each group of weights (rows, groups)."""
    planes: torch.Tensor | None
    """The integers' high and low bytes as the matrix unit reads them (tiles of rows, planes, width / 4, rows, 4)."""

    @classmethod
    def empty(cls, rows: int, width: int) -> PackedRows:
        """Return rows for `width` numbers each; those that pad a row are zeros."""
        integers = torch.empty(rows, padded(width), dtype=torch.int16)
        integers[:, width:].zero_()
        planes = None
        if amx.takes(rows, width):
            planes = torch.empty(
                -(-rows // amx.ROWS), 2, width // amx.BYTES, amx.ROWS, amx.BYTES, dtype=torch.int8
            )
        return cls(integers, torch.empty(rows), torch.empty(rows, padded(width) // GROUP), planes)


def kernel_for(packed: PackedRows, rows: int) -> int:
    """Return the address of the kernel that packs some rows; as planes too if the matrix unit multiplies them."""
    return kernel(has_planes=packed.planes is not None and amx.takes(rows, amx.DEPTH))


@cache
def kernel(*, has_planes: bool) -> int:
    """Return the address of the kernel; with `has_planes` it stores planes too, of whole vectors."""
    return compiled(_Packing(has_planes=has_planes).module)


class _Packing(KernelWriter):
    """Writes the kernel: each thread converts its part of the rows."""

    def __init__(self, *, has_planes: bool) -> None:
        super().__init__(len(FIELDS), vector_width())
        self.has_planes = has_planes
        names = dict(zip(FIELDS, self.fields, strict=True))
        self.sources, self.targets, self.scales, self.sums, self.planes = self.pointers(
            [names[name] for name in ("sources", "targets", "scales", "sums", "planes")]
        )
        self.count, self.room, self.step = names["width"], names["room"], names["source_step"]
        start, stop = self.part_of(names["rows"], 1)
        self.loop(start, stop, 1, (), self._row)
        self.builder.ret_void()

    def _row(self, row: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
        b = self.builder
        source = b.mul(row, self.step)
        target = b.mul(row, self.room)
        whole = b.sub(self.count, b.srem(self.count, I64(self.width)))

        def look(place: ir.Value, state: Sequence[ir.Value]) -> Sequence[ir.Value]:
            values = self.load(self.vector, self.sources, b.add(source, place), F32)
            # Zero times a number is zero, unless the number is not finite.
            return [
                self.vector_call("maxnum", state[0], self.vector_call("fabs", values)),
                self.multiply_add(values, self.constant(0.0), state[1]),
            ]

        def look_last(place: ir.Value, state: Sequence[ir.Value]) -> Sequence[ir.Value]:
            value = self.load(F32, self.sources, b.add(source, place))
            size = b.call(self.intrinsic("llvm.fabs.f32", ir.FunctionType(F32, [F32])), [value])
            larger = b.select(b.fcmp_unordered(">", size, state[0]), size, state[0])
            return [larger, b.fadd(b.fmul(value, F32(0.0)), state[1])]

        peaks, nothing = self.loop(I64(0), whole, self.width, self.zeros(2), look)
        state = [self.largest(peaks), self.total([nothing])]
        peak, zero = self.loop(whole, self.count, 1, state, look_last)
        scale = b.fdiv(peak, F32(LARGEST))
        self.store(b.fadd(scale, zero), self.scales, row)
        is_zero = b.fcmp_ordered("==", peak, F32(0.0))
        factor = b.fdiv(F32(LARGEST), b.select(is_zero, F32(1.0), peak))
        everywhere = self.everywhere(factor)

        def convert(place: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
            values = b.fmul(self.load(self.vector, self.sources, b.add(source, place), F32), everywhere)
            integers = b.fptosi(self.vector_call("nearbyint", values), ir.VectorType(I32, self.width))
            self.store(
                b.trunc(integers, ir.VectorType(I16, self.width)), self.targets, b.add(target, place), I16
            )
            if self.has_planes:
                self._store_planes(integers, row, place)
            return ()

        def convert_last(place: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
            value = b.fmul(self.load(F32, self.sources, b.add(source, place)), factor)
            rounded = b.call(self.intrinsic("llvm.nearbyint.f32", ir.FunctionType(F32, [F32])), [value])
            self.store(b.trunc(b.fptosi(rounded, I32), I16), self.targets, b.add(target, place), I16)
            return ()

        self.loop(I64(0), whole, self.width, (), convert)
        self.loop(whole, self.count, 1, (), convert_last)
        self.loop(I64(0), self.room, GROUP, (), lambda place, _: self._add_up(b.add(target, place)))
        return ()

    def _store_planes(self, integers: ir.Value, row: ir.Value, place: ir.Value) -> None:
        """Store the high and the low bytes of a vector of integers, four of each beside those of other rows."""
        b = self.builder
        tile, line = b.sdiv(row, I64(amx.ROWS)), b.srem(row, I64(amx.ROWS))
        eight = ir.Constant(integers.type, [8] * self.width)
        fours = ir.VectorType(I32, self.width // amx.BYTES)
        for plane, values in ((amx.HIGH, b.ashr(integers, eight)), (amx.LOW, integers)):
            four = b.bitcast(b.trunc(values, ir.VectorType(I8, self.width)), fours)
            start = b.mul(b.add(b.mul(tile, I64(2)), I64(plane)), self.room)
            first = b.add(b.mul(b.sdiv(b.add(start, place), I64(amx.BYTES)), I64(amx.ROWS)), line)
            for index in range(fours.count):
                target = b.add(first, I64(index * amx.ROWS))
                self.store(b.extract_element(four, I32(index)), self.planes, target, I32)

    def _add_up(self, start: ir.Value) -> Sequence[ir.Value]:
        """Store the sum of a group of integers: products with 1, as floats that hold them exactly."""
        b = self.builder
        lanes = 2 * self.width
        shorts = ir.VectorType(I16, lanes)
        total = ir.Constant(ir.VectorType(I32, self.width), [0] * self.width)
        for place in range(0, GROUP, lanes):
            integers = self.load(shorts, self.targets, b.add(start, I64(place)), I16)
            total = self.add_products(total, integers, ir.Constant(shorts, [1] * lanes))
        self.store(self.total([b.sitofp(total, self.vector)]), self.sums, b.sdiv(start, I64(GROUP)))
        return ()


def argument_of(rows: torch.Tensor, packed: PackedRows) -> ctypes.Array[ctypes.c_int64]:
    """Return the kernel's argument for rows (rows, width) in float32, each contiguous."""
    integers = packed.integers
    planes = integers if packed.planes is None else packed.planes
    places = (each.data_ptr() for each in (integers, packed.scales, packed.sums, planes))
    return _Argument(*rows.shape, integers.shape[1], rows.data_ptr(), rows.stride(0), *places)


_Argument = ctypes.c_int64 * len(FIELDS)
