"""Products of few rows of float32 activations with int8 or int4 weights.

One kernel exists for each format and number of rows. Weights are converted in registers, so a step reads each of them
once; activations stay float32, so that only the weights are rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from llvmlite import ir

from codegen_lsp.engine.quantized.formats import FIELDS, GROUP, Format
from codegen_lsp.engine.quantized.writer import F32, I8, I16, I32, I64, KernelWriter, compiled, vector_width

REGISTERS = 8
"""Number of accumulators that a tile should use: enough to hide the latency of a multiply-add on two units."""


@cache
def kernel(number_format: Format, rows: int) -> int:
    """Return the address of the compiled kernel for 1 to `MAX_ROWS` rows of activations; it reads `FIELDS`."""
    return compiled(_Product(number_format, rows, vector_width()).module)


class _Product(KernelWriter):
    """Writes one kernel: each thread computes its part of the output columns, a tile of columns at a time."""

    def __init__(self, number_format: Format, rows: int, width: int) -> None:
        """Write the kernel for vectors of `width` floats."""
        super().__init__(len(FIELDS), width)
        self.format = number_format
        self.rows = rows
        self.columns = max(1, min(4, REGISTERS // rows))
        self.chains = max(1, min(GROUP // width, REGISTERS // (rows * self.columns)))
        self._write()

    def _write(self) -> None:
        b = self.builder
        threads, self.count, self.k = self.fields[:3]
        pointers = self.pointers(self.fields[3:])
        self.weights, self.scales, self.bias, self.inputs, self.outputs = pointers
        start, stop = self.part_of(self.count, threads, self.columns)
        whole = b.sub(stop, b.srem(b.sub(stop, start), I64(self.columns)))
        self.loop(start, whole, self.columns, (), lambda n, _: self._tile(n, self.columns))
        self.loop(whole, stop, 1, (), lambda n, _: self._tile(n, 1))
        b.ret_void()

    def _tile(self, column: ir.Value, columns: int) -> Sequence[ir.Value]:
        """Compute `columns` outputs of each row."""
        b = self.builder
        lines = [b.add(column, I64(i)) for i in range(columns)]

        def body(k: ir.Value, sums: Sequence[ir.Value]) -> Sequence[ir.Value]:
            return self._group(k, lines, list(sums))

        sums = self.loop(I64(0), self.k, GROUP, self.zeros(columns * self.rows * self.chains), body)
        for index, line in enumerate(lines):
            bias = self.load(F32, self.bias, line)
            scale = self.load(F32, self.scales, line) if self.format == "int8" else F32(1.0)
            for row in range(self.rows):
                first = (index * self.rows + row) * self.chains
                total = b.fadd(b.fmul(self.total(sums[first : first + self.chains]), scale), bias)
                self.store(total, self.outputs, b.add(b.mul(I64(row), self.count), line))
        return ()

    def _group(self, k: ir.Value, lines: Sequence[ir.Value], sums: list[ir.Value]) -> list[ir.Value]:
        """Add the products of one group of weights of each line with the activations of each row."""
        weights = [self._weights(line, k) for line in lines]
        for part in range(GROUP // self.width):
            place = self.builder.add(k, I64(part * self.width))
            for row in range(self.rows):
                offset = self.builder.add(self.builder.mul(I64(row), self.k), place)
                inputs = self.load(self.vector, self.inputs, offset, F32)
                for index in range(len(lines)):
                    chain = (index * self.rows + row) * self.chains + part % self.chains
                    sums[chain] = self.multiply_add(weights[index][part], inputs, sums[chain])
        return sums

    def _weights(self, line: ir.Value, k: ir.Value) -> list[ir.Value]:
        """Return the float32 vectors of one group of weights; those of int8 are not scaled yet."""
        b = self.builder
        start = b.add(b.mul(line, self.k), k)
        if self.format == "int8":
            places = [b.add(start, I64(at)) for at in range(0, GROUP, self.width)]
            return [self._floats(self._bytes(place)) for place in places]
        return self._int4_weights(start)

    def _int4_weights(self, start: ir.Value) -> list[ir.Value]:
        b = self.builder
        first = b.sdiv(start, I64(2))
        stored = b.zext(self.load(I16, self.scales, b.sdiv(start, I64(GROUP))), I32)
        scale = self.everywhere(b.bitcast(b.shl(stored, I32(16)), F32))
        low, high = [], []
        for at in range(0, GROUP // 2, self.width):
            pair = self._bytes(b.add(first, I64(at)))
            left, right = (self.everywhere(I32(bits), pair.type) for bits in (28, 4))
            low.append(b.fmul(self._floats(b.ashr(b.shl(pair, left), left)), scale))
            high.append(b.fmul(self._floats(b.ashr(pair, right)), scale))
        return low + high

    def _bytes(self, place: ir.Value) -> ir.Value:
        """Load signed bytes of weights, each extended to 32 bits."""
        stored = self.load(ir.VectorType(I8, self.width), self.weights, place, I8)
        return self.builder.sext(stored, ir.VectorType(I32, self.width))

    def _floats(self, integers: ir.Value) -> ir.Value:
        return self.builder.sitofp(integers, self.vector)
