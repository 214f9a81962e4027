"""What every kernel is made of: a writer of LLVM's intermediate language with explicit vectors, and its compiler.

llvmlite compiles the code, and its wheel carries LLVM: no compiler has to be installed. A kernel is a C function of one
pointer, to 64-bit integers most of which are addresses. Each thread that runs it computes its own part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from codegen_lsp.engine.quantized import team

NAME = "kernel"
"""The function's name in its own module of code."""

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
F32, POINTER = ir.FloatType(), ir.PointerType()

LoopBody = Callable[[ir.Value, Sequence[ir.Value]], Sequence[ir.Value]]


@cache
def vector_width() -> int:
    """Return the number of float32 values in this processor's widest vector."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx2") else 4


@cache
def is_fast_processor() -> bool:
    """Return whether the processor has the instructions that the kernels are written for: AVX2 with FMA, or NEON."""
    features = llvm.get_host_cpu_features()
    return bool((features.get("avx2") and features.get("fma")) or features.get("neon"))


_ENGINES: list[Any] = []
"""Compiled code is freed with its engine."""


def compiled(module: ir.Module) -> int:
    """Return the address of a module's kernel, compiled for this processor."""
    if team.has_threads():
        llvm.add_symbol(team.THREAD_NUMBER, team.address_of(team.THREAD_NUMBER))
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    features = llvm.get_host_cpu_features().flatten()
    machine = target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3)
    code = llvm.parse_assembly(str(module))
    code.verify()
    engine = llvm.create_mcjit_compiler(code, machine)
    engine.finalize_object()
    _ENGINES.append(engine)
    return int(engine.get_function_address(NAME))


class KernelWriter:
    """Writes one kernel."""

    def __init__(self, fields: int, width: int) -> None:
        """Begin a kernel that reads `fields` integers, for vectors of `width` floats."""
        self.width = width
        self.vector = ir.VectorType(F32, width)
        self.module = ir.Module(NAME)
        self.module.triple = llvm.get_default_triple()
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [POINTER]), NAME)
        self.builder = ir.IRBuilder(function.append_basic_block())
        self.fields = [self.load(I64, function.args[0], I64(i)) for i in range(fields)]

    def pointers(self, fields: Sequence[ir.Value]) -> list[ir.Value]:
        """Return fields that are addresses as pointers."""
        return [self.builder.inttoptr(field, POINTER) for field in fields]

    def part_of(self, count: ir.Value, threads: ir.Value, step: int) -> tuple[ir.Value, ir.Value]:
        """Return the range of `count` things that this thread computes; its start is a multiple of `step`."""
        b = self.builder
        thread = self.thread_number()
        tiles = b.sdiv(b.add(count, I64(step - 1)), I64(step))
        start = b.mul(b.sdiv(b.mul(thread, tiles), threads), I64(step))
        stop = b.mul(b.sdiv(b.mul(b.add(thread, I64(1)), tiles), threads), I64(step))
        return start, b.select(b.icmp_signed("<", stop, count), stop, count)

    def thread_number(self) -> ir.Value:
        """Return the number of the thread that runs this, from 0."""
        if not team.has_threads():
            return I64(0)
        function = self.intrinsic(team.THREAD_NUMBER, ir.FunctionType(I32, []))
        return self.builder.zext(self.builder.call(function, []), I64)

    def zeros(self, count: int) -> list[ir.Value]:
        """Return vectors of zeros."""
        return [ir.Constant(self.vector, [0.0] * self.width)] * count

    def total(self, chain: Sequence[ir.Value]) -> ir.Value:
        """Return the sum of all lanes of some vectors."""
        total = chain[0]
        for other in chain[1:]:
            total = self.builder.fadd(total, other)
        return self._reduced("fadd", total, [F32(-0.0)])

    def largest(self, value: ir.Value) -> ir.Value:
        """Return the largest lane of a vector."""
        return self._reduced("fmax", value, [])

    def _reduced(self, name: str, value: ir.Value, before: list[ir.Value]) -> ir.Value:
        kind = ir.FunctionType(F32, [F32] * len(before) + [self.vector])
        function = self.intrinsic(f"llvm.vector.reduce.{name}.v{self.width}f32", kind)
        return self.builder.call(function, [*before, value], fastmath=("reassoc", "nnan"))

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """Return a * b + c of vectors."""
        return self.vector_call("fmuladd", a, b, c)

    def vector_call(self, name: str, *arguments: ir.Value) -> ir.Value:
        """Call one of LLVM's functions of vectors of floats."""
        kind = ir.FunctionType(self.vector, [self.vector] * len(arguments))
        return self.builder.call(self.intrinsic(f"llvm.{name}.v{self.width}f32", kind), list(arguments))

    def intrinsic(self, name: str, kind: ir.FunctionType) -> ir.Value:
        """Return a function from outside, such as one of LLVM's own."""
        return self.module.globals.get(name) or ir.Function(self.module, kind, name)

    def everywhere(self, value: ir.Value, vector: ir.VectorType | None = None) -> ir.Value:
        """Return a vector with the same value in every lane."""
        vector = vector or self.vector
        one = self.builder.insert_element(ir.Constant(vector, ir.Undefined), value, I32(0))
        lanes = ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count)
        return self.builder.shuffle_vector(one, one, lanes)

    def constant(self, value: float) -> ir.Value:
        """Return a vector of a number."""
        return ir.Constant(self.vector, [value] * self.width)

    def load(
        self, kind: ir.Type, pointer: ir.Value, place: ir.Value, unit: ir.Type | None = None
    ) -> ir.Value:
        """Load a value that starts `place` units after a pointer."""
        unit = unit or kind
        address = self.builder.gep(pointer, [place], source_etype=unit)
        return self.builder.load(address, align=_alignment(unit), typ=kind)

    def store(self, value: ir.Value, pointer: ir.Value, place: ir.Value, unit: ir.Type = F32) -> None:
        """Store a value `place` units after a pointer."""
        self.builder.store(
            value, self.builder.gep(pointer, [place], source_etype=unit), align=_alignment(unit)
        )

    def loop(
        self, start: ir.Value, stop: ir.Value, step: int, values: Sequence[ir.Value], body: LoopBody
    ) -> Sequence[ir.Value]:
        """Write a loop that carries values from turn to turn; return them as they are after the last turn."""
        b = self.builder
        before = b.block
        head, inside, after = (b.append_basic_block() for _ in range(3))
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(I64)
        index.add_incoming(start, before)
        carried = [b.phi(value.type) for value in values]
        for phi, value in zip(carried, values, strict=True):
            phi.add_incoming(value, before)
        b.cbranch(b.icmp_signed("<", index, stop), inside, after)
        b.position_at_end(inside)
        results = body(index, carried)
        index.add_incoming(b.add(index, I64(step)), b.block)
        for phi, value in zip(carried, results, strict=True):
            phi.add_incoming(value, b.block)
        b.branch(head)
        b.position_at_end(after)
        return carried


def _alignment(unit: ir.Type) -> int:
    return int(unit.width) // 8 if isinstance(unit, ir.IntType) else 4
