"""Products of many rows with int8 weights on the matrix unit of Intel's server processors (AMX).

The unit multiplies tiles of 16 x 64 bytes (Intel, Architecture Instruction Set Extensions Programming Reference,
chapter "Intel AMX"). An activation of 16 bits is a high and a low byte, so a product is two of the unit's, whose sums
are as exact as those of the other kernels: 256 times that of the high bytes, and that of the low ones.

Tiles of weights are read where they are stored, so the unit yields 16 outputs of 16 rows with the rows side by side;
they are turned as they are stored.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Sequence
from functools import cache
from itertools import chain

import llvmlite.binding as llvm
from llvmlite import ir

from codegen_lsp.engine.quantized.formats import FEW_ROWS
from codegen_lsp.engine.quantized.product_kernels.vectors import FIELDS
from codegen_lsp.engine.quantized.writer import (
    F32,
    I8,
    I32,
    I64,
    WIDEST,
    KernelWriter,
    compiled,
    vector_width,
)

ROWS = 16
"""Rows of a tile."""

DEPTH = 64
"""Bytes in a row of a tile: the number of weights of a row that are multiplied at once."""

BYTES = 4
"""Neighbouring bytes of a row that the unit multiplies and adds up at once."""

COLUMNS = 2 * ROWS
"""Columns of the product that are computed at once, so that activations are loaded half as often."""

ARCH_REQ_XCOMP_PERM, XTILEDATA, ARCH_PRCTL = 0x1023, 18, 158
"""Linux's call and number of the state that a process has to ask for, on x86-64."""

HIGH, LOW = 0, 1
"""The planes of activations: their high bytes, which have the sign, and their low ones."""

WEIGHTS = (0, 1)
ACTIVATIONS = (2, 3)
SUMS = ((4, 5), (6, 7))
"""Numbers of the unit's tiles: of weights, by half of the columns; of activations, by plane; of sums, by both."""


@cache
def is_usable() -> bool:
    """Return whether this processor has the unit, and the system lets this process use it."""
    features = llvm.get_host_cpu_features()
    if sys.platform != "linux" or platform.machine() != "x86_64" or vector_width() != WIDEST:
        return False
    if not (features.get("amx-int8") and features.get("amx-tile")):
        return False
    answer: int = ctypes.CDLL(None).syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XTILEDATA)
    return answer == 0


def takes(rows: int, width: int, columns: int = COLUMNS, *, adds: bool = False) -> bool:
    """Return whether the unit multiplies some rows of `width` numbers with a matrix of `columns` columns.

    Columns that fill no whole tiles are computed twice, so those must not be added to anything.
    """
    fits = width % DEPTH == 0 and columns >= COLUMNS and not (adds and columns % COLUMNS)
    return rows > FEW_ROWS and fits and is_usable()


@cache
def kernel(*, adds: bool) -> int:
    """Return the address of the compiled kernel; it reads `FIELDS`, as the other kernels do.

    Its tiles have 16 rows, and its inputs are planes. With `adds` products are added to the outputs. Threads take
    blocks of columns in turns.
    """
    return compiled(_MatrixProduct(adds=adds).module)


class _MatrixProduct(KernelWriter):
    """Writes the kernel: for each block of columns, all tiles of rows one after the other."""

    def __init__(self, *, adds: bool) -> None:
        super().__init__(len(FIELDS), WIDEST)
        self.adds = adds
        self.integers = ir.VectorType(I32, WIDEST)
        names = dict(zip(FIELDS, self.fields, strict=True))
        self.weights, self.scales, self.bias, self.inputs, self.input_scales, self.outputs = self.pointers(
            [names[name] for name in ("weights", "scales", "bias", "inputs", "input_scales", "outputs")]
        )
        self.tiles, self.k, self.step = names["tiles"], names["width"], names["step"]
        b = self.builder
        self.scratch = b.alloca(ir.ArrayType(I32, ROWS * ROWS), size=2)
        self._configure()

        def columns(first: ir.Value) -> None:
            end = b.add(first, names["block"])
            end = b.select(b.icmp_signed("<", end, names["columns"]), end, names["columns"])
            self.loop(first, end, COLUMNS, (), rows)

        last = b.sub(names["columns"], I64(COLUMNS))

        def rows(column: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
            # Columns that fill no whole tile are computed with those before them.
            column = b.select(b.icmp_signed("<", column, last), column, last)
            self.loop(I64(0), self.tiles, 1, (), lambda tile, _: self._tile(tile, column))
            return ()

        self.take_turns(FIELDS.index("taken"), names["columns"], names["block"], columns)
        self._call("tilerelease")
        b.ret_void()

    def _call(self, name: str, *arguments: ir.Value) -> None:
        kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
        self.builder.call(self.intrinsic(f"llvm.x86.{name}", kind), list(arguments))

    def _configure(self) -> None:
        """Give all tiles of the unit 16 rows of 64 bytes."""
        b = self.builder
        content = [1, 0, *[0] * 14, *[DEPTH, 0] * 8, *[0] * 16, *[ROWS] * 8, *[0] * 8]
        place = b.alloca(ir.ArrayType(I8, len(content)))
        b.store(ir.Constant(ir.ArrayType(I8, len(content)), content), place)
        self._call("ldtilecfg", place)

    def _tile(self, tile: ir.Value, column: ir.Value) -> Sequence[ir.Value]:
        """Compute the outputs of some columns for a tile of rows."""
        b = self.builder
        plane = b.mul(self.k, I64(ROWS))
        planes = [b.mul(b.add(b.mul(tile, I64(2)), I64(which)), plane) for which in (HIGH, LOW)]
        lines = [b.mul(b.add(column, I64(half * ROWS)), self.k) for half in (0, 1)]
        for number in chain(*SUMS):
            self._call("tilezero", I8(number))

        def part(k: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
            for tile, line in zip(WEIGHTS, lines, strict=True):
                self._load(tile, self.weights, b.add(line, k), self.k)
            for which, (name, start) in enumerate(zip(("tdpbssd", "tdpbsud"), planes, strict=True)):
                self._load(ACTIVATIONS[which], self.inputs, b.add(start, b.mul(k, I64(ROWS))), I64(DEPTH))
                for tile, sums in zip(WEIGHTS, SUMS, strict=True):
                    self._call(name, I8(sums[which]), I8(tile), I8(ACTIVATIONS[which]))
            return ()

        self.loop(I64(0), self.k, DEPTH, (), part)
        for half, sums in enumerate(SUMS):
            self._finish(tile, b.add(column, I64(half * ROWS)), sums)
        return ()

    def _load(self, number: int, pointer: ir.Value, place: ir.Value, step: ir.Value) -> None:
        address = self.builder.gep(pointer, [place], source_etype=I8)
        self._call("tileloadd64", I8(number), address, step)

    def _finish(self, tile: ir.Value, column: ir.Value, sums: tuple[int, int]) -> None:
        """Store the outputs of 16 columns for a tile of rows."""
        b = self.builder
        places = [b.gep(self.scratch, [I64(which * ROWS * ROWS)], source_etype=I32) for which in (HIGH, LOW)]
        for place, number in zip(places, sums, strict=True):
            self._call("tilestored64", I8(number), place, I64(DEPTH))
        first = b.mul(tile, I64(ROWS))
        scales = self.load(self.vector, self.input_scales, first, F32)
        columns = []
        for index in range(ROWS):
            high, low = (
                b.sitofp(self.load(self.integers, place, I64(index * ROWS), I32), self.vector)
                for place in places
            )
            total = self.multiply_add(high, self.constant(256.0), low)
            columns.append(b.fmul(total, scales))
        own = self.load(self.vector, self.scales, column, F32)
        bias = self.load(self.vector, self.bias, column, F32)
        for index, row in enumerate(self._turned(columns)):
            target = b.add(b.mul(b.add(first, I64(index)), self.step), column)
            before = bias
            if self.adds:
                before = b.fadd(bias, self.load(self.vector, self.outputs, target, F32))
            self.store(self.multiply_add(row, own, before), self.outputs, target)

    def _turned(self, lines: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Return the columns of a square of vectors: each round puts the lanes of two between each other."""
        half = ROWS // 2
        low, high = (
            ir.Constant(self.integers, [start + i // 2 + i % 2 * ROWS for i in range(ROWS)])
            for start in (0, half)
        )
        for _ in range(ROWS.bit_length() - 1):
            lines = [
                self.builder.shuffle_vector(lines[i], lines[i + half], lanes)
                for i in range(half)
                for lanes in (low, high)
            ]
        return lines
