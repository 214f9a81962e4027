"""The kernels between matrix products: norms and activations.

Each thread computes its part of the rows, or those columns that it has multiplied just before: then it doesn't have to
wait for other threads.
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
from codegen_lsp.engine.quantized.writer import F32, I16, I32, I64, KernelWriter, compiled, vector_width

NORM_FIELDS = ("rows", "width", "sources", "indices", "weight", "bias", "targets", "epsilon")
"""Numbers of rows and of floats in each; floats; which row of them becomes which row of the targets; addresses; the
address of epsilon."""

LOOKUP_FIELDS = ("rows", "width", "table", "lines", "ids", "targets")
"""Numbers of rows, and of numbers in each; a table and how many lines it has; which line becomes which row; floats."""

GELU_FIELDS = ("rows", "columns", "values")
SILU_FIELDS = ("rows", "columns", "gates", "values")

GELU_SLOPE, GELU_CUBE = 0.7978845608028654, 0.044715
"""sqrt(2 / pi), and the weight of the cube in the approximation with a hyperbolic tangent (Hendrycks and Gimpel)."""


@cache
def norm(*, centred: bool = True) -> int:
    """Return the address of the kernel for norms of rows of whole vectors.

    Layer norms are centred and have a bias; those by the root mean square (Zhang and Sennrich 2019) are not.
    """
    return compiled(_Norm(centred=centred).module)


@cache
def lookup(dtype: torch.dtype) -> int:
    """Return the address of the kernel that looks up lines of whole vectors in a table, as floats.

    A line that isn't there becomes one of NaN.
    """
    return compiled(_Lookup(TABLES[dtype]).module)


@cache
def gelu(columns: int) -> int:
    """Return the address of the kernel for activations; threads have multiples of `columns` columns."""
    return compiled(_Gelu(columns).module)


@cache
def silu(columns: int) -> int:
    """Return the address of the kernel that replaces gates by gated values; threads have multiples of `columns`."""
    return compiled(_Silu(columns).module)


def gelu_in_place(values: torch.Tensor) -> torch.Tensor:
    """Replace values by their activations where a kernel can (contiguous, in float32), and return them; else others."""
    if values.device.type != "cpu" or values.dtype != torch.float32 or not values.is_contiguous():
        return torch.nn.functional.gelu(values, approximate="tanh")
    argument = arguments(1, values.numel(), values.data_ptr())
    team.run(gelu(1), ctypes.addressof(argument))
    return values


class _Norm(KernelWriter):
    """Writes the kernel for norms."""

    def __init__(self, *, centred: bool) -> None:
        super().__init__(len(NORM_FIELDS), vector_width())
        self.centred = centred
        rows, self.count, *addresses = self.fields
        pointers = self.pointers(addresses)
        self.sources, self.indices, self.weight, self.bias, self.targets, epsilon = pointers
        self.epsilon = self.load(F32, epsilon, I64(0))
        start, stop = self.part_of(rows, 1)
        self.loop(start, stop, 1, (), self._row)
        self.builder.ret_void()

    def _row(self, row: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
        b = self.builder
        source = b.mul(self.load(I64, self.indices, row), self.count)
        target = b.mul(row, self.count)
        size = b.sitofp(self.count, F32)

        def values(place: ir.Value) -> ir.Value:
            return self.load(self.vector, self.sources, b.add(source, place), F32)

        def add(place: ir.Value, sums: Sequence[ir.Value]) -> Sequence[ir.Value]:
            return [b.fadd(sums[0], values(place))]

        mean = self.constant(0.0)
        if self.centred:
            mean = self.everywhere(b.fdiv(self.total(self._over(add)), size))

        def square(place: ir.Value, sums: Sequence[ir.Value]) -> Sequence[ir.Value]:
            distance = b.fsub(values(place), mean)
            return [self.multiply_add(distance, distance, sums[0])]

        variance = b.fadd(b.fdiv(self.total(self._over(square)), size), self.epsilon)
        root = self.intrinsic("llvm.sqrt.f32", ir.FunctionType(F32, [F32]))
        factor = self.everywhere(b.fdiv(F32(1.0), b.call(root, [variance])))

        def scale(place: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
            weight = self.load(self.vector, self.weight, place, F32)
            bias = self.load(self.vector, self.bias, place, F32) if self.centred else self.constant(0.0)
            normed = b.fmul(b.fsub(values(place), mean), factor)
            self.store(self.multiply_add(normed, weight, bias), self.targets, b.add(target, place))
            return ()

        self.loop(I64(0), self.count, self.width, (), scale)
        return ()

    def _over(self, body: object) -> Sequence[ir.Value]:
        return self.loop(I64(0), self.count, self.width, self.zeros(1), body)  # type: ignore[arg-type]


TABLES: dict[torch.dtype, ir.Type] = {
    torch.float32: F32,
    torch.float16: ir.HalfType(),
    torch.bfloat16: I16,
}
"""The number formats of tables."""


class _Lookup(KernelWriter):
    """Writes the kernel for tables."""

    def __init__(self, kind: ir.Type) -> None:
        super().__init__(len(LOOKUP_FIELDS), vector_width())
        self.kind = kind
        rows, self.count, table, self.lines, *addresses = self.fields
        self.table, self.ids, self.targets = self.pointers([table, *addresses])
        # A thread looks up the rows that it norms next.
        start, stop = self.part_of(rows, 1)
        self.loop(start, stop, 1, (), self._row)
        self.builder.ret_void()

    def _row(self, row: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
        b = self.builder
        line = self.load(I64, self.ids, row)
        is_there = b.icmp_unsigned("<", line, self.lines)
        source = b.mul(b.select(is_there, line, I64(0)), self.count)
        target = b.mul(row, self.count)
        lanes = b.select(is_there, F32(0.0), F32(math.nan))

        def copy(place: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
            values = b.fadd(self._floats(b.add(source, place)), self.everywhere(lanes))
            self.store(values, self.targets, b.add(target, place))
            return ()

        self.loop(I64(0), self.count, self.width, (), copy)
        return ()

    def _floats(self, place: ir.Value) -> ir.Value:
        if self.kind == ir.HalfType():
            halves = self.load(ir.VectorType(self.kind, self.width), self.table, place, I16)
            return self.builder.fpext(halves, self.vector)
        return self.stored(self.table, place, is_half=self.kind == I16)


class _Activation(KernelWriter):
    """Writes a kernel that replaces the numbers of some columns of each row."""

    fields_read: tuple[str, ...]

    def __init__(self, columns: int) -> None:
        super().__init__(len(self.fields_read), vector_width())
        b = self.builder
        rows, count = self.fields[:2]
        self.addresses = self.pointers(self.fields[2:])
        start, stop = self.part_of(count, columns)
        whole = b.sub(stop, b.srem(b.sub(stop, start), I64(self.width)))

        def row(number: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
            first = b.mul(number, count)
            self.loop(start, whole, self.width, (), lambda n, _: self._vector(b.add(first, n)))
            self.loop(whole, stop, 1, (), lambda n, _: self._number(b.add(first, n)))
            return ()

        self.loop(I64(0), rows, 1, (), row)
        b.ret_void()

    def _vector(self, place: ir.Value) -> Sequence[ir.Value]:
        values = [self.load(self.vector, address, place, F32) for address in self.addresses]
        self.store(self.activation(*values), self.addresses[0], place)
        return ()

    def _number(self, place: ir.Value) -> Sequence[ir.Value]:
        values = [self.everywhere(self.load(F32, address, place)) for address in self.addresses]
        self.store(self.builder.extract_element(self.activation(*values), I32(0)), self.addresses[0], place)
        return ()

    def activation(self, *values: ir.Value) -> ir.Value:
        """Return what takes the place of the first of some vectors."""
        raise NotImplementedError

    def sigmoid(self, x: ir.Value) -> ir.Value:
        """Return 1 / (1 + e^-x); only e^-|x| is needed, which never overflows."""
        b = self.builder
        power = self.exponential(b.fneg(self.vector_call("fabs", x)))
        above = b.select(b.fcmp_ordered("<", x, self.constant(0.0)), power, self.constant(1.0))
        return b.fdiv(above, b.fadd(self.constant(1.0), power))


class _Gelu(_Activation):
    """Writes the kernel for GPT-2's approximation of GELU: x * sigmoid(2 u), which is 0.5 * x * (1 + tanh(u))."""

    fields_read = GELU_FIELDS

    def activation(self, *values: ir.Value) -> ir.Value:
        b, (x,) = self.builder, values
        cubic = self.multiply_add(b.fmul(x, x), self.constant(GELU_CUBE), self.constant(1.0))
        return b.fmul(x, self.sigmoid(b.fmul(b.fmul(x, self.constant(2 * GELU_SLOPE)), cubic)))


class _Silu(_Activation):
    """Writes the kernel for gated units: gate * sigmoid(gate) * value (Shazeer 2020, SwiGLU)."""

    fields_read = SILU_FIELDS

    def activation(self, *values: ir.Value) -> ir.Value:
        b, (gate, value) = self.builder, values
        return b.fmul(b.fmul(gate, self.sigmoid(gate)), value)
