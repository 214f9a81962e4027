"""The kernels between matrix products: layer norm, activation, rotation of queries and keys.

Each thread computes its part of the rows, or those columns that it has multiplied just before: then it doesn't have to
wait for other threads.
"""

from __future__ import annotations

import ctypes
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

GELU_FIELDS = ("rows", "columns", "values")

ROTATION_FIELDS = (
    "rows",
    "new",
    "heads",
    "chunk",
    "before",
    "position",
    "row_step",
    "head_step",
    "keys",
    "values",
    "parts",
    "queries",
    "cosines",
    "sines",
)
"""Numbers of rows, of new tokens in each, of heads and of heads in a chunk; positions in the buffers and in the
sequences of the first new token; steps of the buffers; addresses."""

GELU_SLOPE, GELU_CUBE = 0.7978845608028654, 0.044715
"""sqrt(2 / pi), and the weight of the cube in the approximation with a hyperbolic tangent (Hendrycks and Gimpel)."""


@cache
def norm() -> int:
    """Return the address of the kernel for layer norms of rows of whole vectors."""
    return compiled(_Norm().module)


@cache
def gelu(columns: int) -> int:
    """Return the address of the kernel for activations; threads have multiples of `columns` columns."""
    return compiled(_Gelu(columns).module)


def gelu_in_place(values: torch.Tensor) -> torch.Tensor:
    """Replace values by their activations where a kernel can (contiguous, in float32), and return them; else others."""
    if values.device.type != "cpu" or values.dtype != torch.float32 or not values.is_contiguous():
        return torch.nn.functional.gelu(values, approximate="tanh")
    argument = arguments(1, values.numel(), values.data_ptr())
    team.run(gelu(1), ctypes.addressof(argument))
    return values


@cache
def rotation(width: int, rotary: int, *, is_half: bool) -> int:
    """Return the address of the kernel that rotates queries and keys of `width` numbers and stores keys and values."""
    return compiled(_Rotation(width, rotary, is_half=is_half).module)


class _Norm(KernelWriter):
    """Writes the kernel for layer norms."""

    def __init__(self) -> None:
        super().__init__(len(NORM_FIELDS), vector_width())
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

        mean = self.everywhere(b.fdiv(self.total(self._over(add)), size))

        def square(place: ir.Value, sums: Sequence[ir.Value]) -> Sequence[ir.Value]:
            distance = b.fsub(values(place), mean)
            return [self.multiply_add(distance, distance, sums[0])]

        variance = b.fadd(b.fdiv(self.total(self._over(square)), size), self.epsilon)
        root = self.intrinsic("llvm.sqrt.f32", ir.FunctionType(F32, [F32]))
        factor = self.everywhere(b.fdiv(F32(1.0), b.call(root, [variance])))

        def scale(place: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
            weight, bias = (self.load(self.vector, part, place, F32) for part in (self.weight, self.bias))
            normed = b.fmul(b.fsub(values(place), mean), factor)
            self.store(self.multiply_add(normed, weight, bias), self.targets, b.add(target, place))
            return ()

        self.loop(I64(0), self.count, self.width, (), scale)
        return ()

    def _over(self, body: object) -> Sequence[ir.Value]:
        return self.loop(I64(0), self.count, self.width, self.zeros(1), body)  # type: ignore[arg-type]


class _Gelu(KernelWriter):
    """Writes the kernel for GPT-2's approximation of GELU."""

    def __init__(self, columns: int) -> None:
        super().__init__(len(GELU_FIELDS), vector_width())
        b = self.builder
        rows, count, _ = self.fields
        (self.values,) = self.pointers(self.fields[2:])
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
        self.store(self._gelu(self.load(self.vector, self.values, place, F32)), self.values, place)
        return ()

    def _number(self, place: ir.Value) -> Sequence[ir.Value]:
        value = self.everywhere(self.load(F32, self.values, place))
        self.store(self.builder.extract_element(self._gelu(value), I32(0)), self.values, place)
        return ()

    def _gelu(self, x: ir.Value) -> ir.Value:
        """Return x * sigmoid(2 u), which is 0.5 * x * (1 + tanh(u)); only e^-|2 u| is needed, which never overflows."""
        b = self.builder
        cubic = self.multiply_add(b.fmul(x, x), self.constant(GELU_CUBE), self.constant(1.0))
        double = b.fmul(b.fmul(x, self.constant(2 * GELU_SLOPE)), cubic)
        power = self.exponential(b.fneg(self.vector_call("fabs", double)))
        above = b.select(b.fcmp_ordered("<", double, self.constant(0.0)), power, self.constant(1.0))
        return b.fmul(x, b.fdiv(above, b.fadd(self.constant(1.0), power)))


class _Rotation(KernelWriter):
    """Writes the kernel for what comes between the projection and attention."""

    def __init__(self, head: int, rotary: int, *, is_half: bool) -> None:
        super().__init__(len(ROTATION_FIELDS), vector_width())
        self.head, self.rotary, self.is_half = head, rotary, is_half
        b = self.builder
        self.names = dict(zip(ROTATION_FIELDS, self.fields, strict=True))
        self.places = dict(zip(ROTATION_FIELDS[8:], self.pointers(self.fields[8:]), strict=True))
        tokens = b.mul(self.names["rows"], self.names["new"])
        start, stop = self.part_of(b.mul(tokens, self.names["heads"]), 1)
        self.loop(start, stop, 1, (), self._unit)
        b.ret_void()

    def _unit(self, unit: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Compute one head of one token."""
        b, names = self.builder, self.names
        head, number = b.srem(unit, names["heads"]), b.sdiv(unit, names["heads"])
        row, token = b.sdiv(number, names["new"]), b.srem(number, names["new"])
        chunk, inside = b.sdiv(head, names["chunk"]), b.srem(head, names["chunk"])
        part = b.mul(names["chunk"], I64(self.head))
        source = b.add(
            b.mul(b.mul(number, names["heads"]), I64(3 * self.head)), b.mul(inside, I64(self.head))
        )
        source = b.add(source, b.mul(chunk, b.mul(part, I64(3))))
        table = b.mul(b.add(names["position"], token), I64(self.rotary))
        target = b.add(b.mul(row, names["row_step"]), b.mul(head, names["head_step"]))
        target = b.add(target, b.mul(b.add(names["before"], token), I64(self.head)))
        query = b.mul(unit, I64(self.head))
        factor = self.constant(self.head**-0.5)
        for start in range(0, self.head, self.width):
            values = [b.add(source, I64(start)), b.add(b.add(source, part), I64(start))]
            values.append(b.add(values[1], part))
            q, v, k = (self.load(self.vector, self.places["parts"], place, F32) for place in values)
            if start < self.rotary:
                q, k = self._rotated([q, k], b.add(table, I64(start)))
            self.store(b.fmul(q, factor), self.places["queries"], b.add(query, I64(start)))
            self._keep(k, self.places["keys"], b.add(target, I64(start)))
            self._keep(v, self.places["values"], b.add(target, I64(start)))
        return ()

    def _rotated(self, values: Sequence[ir.Value], place: ir.Value) -> Sequence[ir.Value]:
        """Rotate neighbouring numbers as the tables at `place` say, which have each angle's value for both."""
        b = self.builder
        cosines, sines = (self.load(self.vector, self.places[n], place, F32) for n in ("cosines", "sines"))
        swap = ir.Constant(ir.VectorType(I32, self.width), [i ^ 1 for i in range(self.width)])
        swapped = [b.shuffle_vector(value, value, swap) for value in values]
        pairs = zip(values, swapped, strict=True)
        return [self.multiply_add(value, cosines, b.fmul(other, sines)) for value, other in pairs]

    def _keep(self, value: ir.Value, pointer: ir.Value, place: ir.Value) -> None:
        """Store keys or values, in bfloat16 rounded to the nearest, ties to even."""
        if not self.is_half:
            self.store(value, pointer, place)
            return
        b, integers = self.builder, ir.VectorType(I32, self.width)
        bits = b.bitcast(value, integers)
        one, sixteen, half = (ir.Constant(integers, [n] * self.width) for n in (1, 16, 0x7FFF))
        rounded = b.add(b.add(bits, half), b.and_(b.lshr(bits, sixteen), one))
        self.store(b.trunc(b.lshr(rounded, sixteen), ir.VectorType(I16, self.width)), pointer, place, I16)
