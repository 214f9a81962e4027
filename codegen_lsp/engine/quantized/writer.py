"""What every kernel is made of: a writer of LLVM's intermediate language with explicit vectors, and its compiler.

llvmlite compiles the code, and its wheel carries LLVM: no compiler has to be installed. A kernel is a C function of one
pointer, to 64-bit integers most of which are addresses. Each thread that runs it computes its own part.
"""

from __future__ import annotations

import math
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

PAIR_PRODUCTS = {8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}
"""Instructions that multiply 16-bit integers and add neighbours, by the number of sums in a vector."""

LOG2_E, LN2_HIGH, LN2_LOW = math.log2(math.e), 0.693359375, -2.12194440e-4
"""The parts of ln 2: multiples of the first are exact in float32 (Cody and Waite, 1980)."""

EXPONENTIAL = (1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0, 1.0)
"""The polynomial of e^x around 0, highest power first; below ln 2 / 2 its error is less than float32's."""

SMALLEST = -87.0
"""Smallest exponent of e that float32 holds without losing digits."""

LOWEST = -3e38
"""What a hidden score counts as: its exponential is zero."""

LINE = 64
"""Bytes that are fetched at once: a line of a cache."""

FOUR = 4
"""Number of sums over a vector that are finished at once."""

WIDEST = 16
"""Number of float32 values in a vector of AVX-512."""

LoopBody = Callable[[ir.Value, Sequence[ir.Value]], Sequence[ir.Value]]


@cache
def vector_width() -> int:
    """Return the number of float32 values in this processor's widest vector."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f") and features.get("avx512bw"):
        return WIDEST
    return 8 if features.get("avx2") else 4


@cache
def is_fast_processor() -> bool:
    """Return whether the processor has the instructions that the kernels are written for: AVX2 with FMA, or NEON."""
    features = llvm.get_host_cpu_features()
    return bool((features.get("avx2") and features.get("fma")) or features.get("neon"))


@cache
def instructions() -> str:
    """Return what the kernels are compiled for on this processor, as its maker calls it."""
    features = llvm.get_host_cpu_features()
    width = vector_width()
    if width == WIDEST:
        return "AVX-512 with VNNI" if features.get("avx512vnni") else "AVX-512"
    return "AVX2" if width > 4 else "NEON" if features.get("neon") else "vectors of 4 numbers"


_ENGINES: list[Any] = []
"""Compiled code is freed with its engine."""


def compiled(module: ir.Module) -> int:
    """Return the address of a module's kernel, compiled for this processor."""
    if team.has_threads():
        for name in (team.THREAD_NUMBER, team.THREAD_COUNT):
            llvm.add_symbol(name, team.address_of(name))
        llvm.add_symbol("sched_yield", team.yield_address())
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
        self.argument = function.args[0]
        self.fields = [self.load(I64, self.argument, I64(i)) for i in range(fields)]

    def pointers(self, fields: Sequence[ir.Value]) -> list[ir.Value]:
        """Return fields that are addresses as pointers."""
        return [self.builder.inttoptr(field, POINTER) for field in fields]

    def part_of(self, count: ir.Value, step: int) -> tuple[ir.Value, ir.Value]:
        """Return the range of `count` things that this thread computes; its start is a multiple of `step`."""
        b = self.builder
        thread, threads = self.thread_number(), self.thread_count()
        tiles = b.sdiv(b.add(count, I64(step - 1)), I64(step))
        start = b.mul(b.sdiv(b.mul(thread, tiles), threads), I64(step))
        stop = b.mul(b.sdiv(b.mul(b.add(thread, I64(1)), tiles), threads), I64(step))
        return start, b.select(b.icmp_signed("<", stop, count), stop, count)

    def thread_number(self) -> ir.Value:
        """Return the number of the thread that runs this, from 0."""
        return self._of_team(team.THREAD_NUMBER, 0)

    def thread_count(self) -> ir.Value:
        """Return the number of threads that run this."""
        return self._of_team(team.THREAD_COUNT, 1)

    def _of_team(self, name: str, alone: int) -> ir.Value:
        if not team.has_threads():
            return I64(alone)
        function = self.intrinsic(name, ir.FunctionType(I32, []))
        return self.builder.zext(self.builder.call(function, []), I64)

    def take_turns(
        self, taken: int, count: ir.Value, step: ir.Value, body: Callable[[ir.Value], object]
    ) -> None:
        """Write a loop over every `step`th of `count` things, each for the thread that comes first.

        No thread waits long for one whose core other programs use. Field number `taken` of the argument, zero before,
        counts what is taken; `body` gets the number of a thing.
        """
        b = self.builder
        counter = b.gep(self.argument, [I64(taken)], source_etype=I64)

        def take() -> ir.Value:
            return b.mul(b.atomic_rmw("add", counter, I64(1), "monotonic"), step)

        before, first = b.block, take()
        head, inside, after = (b.append_basic_block() for _ in range(3))
        b.branch(head)
        b.position_at_end(head)
        number = b.phi(I64)
        number.add_incoming(first, before)
        b.cbranch(b.icmp_signed("<", number, count), inside, after)
        b.position_at_end(inside)
        body(number)
        following = take()
        number.add_incoming(following, b.block)
        b.branch(head)
        b.position_at_end(after)

    def zeros(self, count: int) -> list[ir.Value]:
        """Return vectors of zeros."""
        return [ir.Constant(self.vector, [0.0] * self.width)] * count

    def total(self, chain: Sequence[ir.Value]) -> ir.Value:
        """Return the sum of all lanes of some vectors."""
        total = chain[0]
        for other in chain[1:]:
            total = self.builder.fadd(total, other)
        return self._reduced("fadd", total, [F32(-0.0)])

    def totals(self, vectors: Sequence[ir.Value]) -> ir.Value:
        """Return the totals of four vectors as one of four numbers; each is added up in the order of `total`."""
        b = self.builder
        halves = list(vectors)
        for width in (8, 4):
            if halves[0].type.count > width:
                halves = [
                    b.fadd(self.lanes_of(each, 0, width), self.lanes_of(each, width, width))
                    for each in halves
                ]

        def pairs(one: ir.Value, other: ir.Value, lanes: Sequence[int]) -> ir.Value:
            return b.shuffle_vector(one, other, ir.Constant(ir.VectorType(I32, 4), list(lanes)))

        first, last = (
            b.fadd(pairs(one, other, (0, 1, 4, 5)), pairs(one, other, (2, 3, 6, 7)))
            for one, other in (halves[:2], halves[2:])
        )
        return b.fadd(pairs(first, last, (0, 2, 4, 6)), pairs(first, last, (1, 3, 5, 7)))

    def joined(self, vectors: Sequence[ir.Value]) -> ir.Value:
        """Return the lanes of one vector or of two, one after the other."""
        if len(vectors) == 1:
            return vectors[0]
        one, other = vectors
        lanes = ir.Constant(ir.VectorType(I32, 2 * one.type.count), list(range(2 * one.type.count)))
        return self.builder.shuffle_vector(one, other, lanes)

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

    def add_products(self, sums: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
        """Return 32-bit sums plus the products of 16-bit integers, two neighbours (or halves) added to each sum."""
        builder = self.builder
        name = PAIR_PRODUCTS.get(self.width)
        if name is not None:
            kind = ir.FunctionType(sums.type, [a.type, b.type])
            return builder.add(sums, builder.call(self.intrinsic(name, kind), [a, b]))
        for start in (0, self.width):
            left, right = (builder.sext(self.lanes_of(v, start, self.width), sums.type) for v in (a, b))
            sums = builder.add(sums, builder.mul(left, right))
        return sums

    def lanes_of(self, value: ir.Value, start: int, count: int) -> ir.Value:
        """Return `count` lanes of a vector from `start` on."""
        lanes = ir.Constant(ir.VectorType(I32, count), list(range(start, start + count)))
        return self.builder.shuffle_vector(value, value, lanes)

    def exponential(self, value: ir.Value) -> ir.Value:
        """Return e^x of each lane, which must not be above 0; 0 below the smallest exponent."""
        b = self.builder
        is_tiny = b.fcmp_ordered("<", value, self.constant(SMALLEST))
        value = b.select(is_tiny, self.constant(SMALLEST), value)
        power = self.vector_call("nearbyint", b.fmul(value, self.constant(LOG2_E)))
        remainder = self.multiply_add(power, self.constant(-LN2_HIGH), value)
        remainder = self.multiply_add(power, self.constant(-LN2_LOW), remainder)
        result = self.constant(EXPONENTIAL[0])
        for coefficient in EXPONENTIAL[1:]:
            result = self.multiply_add(result, remainder, self.constant(coefficient))
        integers = ir.VectorType(I32, self.width)
        biased = b.add(b.fptosi(power, integers), ir.Constant(integers, [127] * self.width))
        scale = b.bitcast(b.shl(biased, ir.Constant(integers, [23] * self.width)), self.vector)
        return b.select(is_tiny, self.constant(0.0), b.fmul(result, scale))

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

    def stored(self, pointer: ir.Value, place: ir.Value, *, is_half: bool) -> ir.Value:
        """Load a vector of numbers in float32 or bfloat16 that starts `place` numbers after a pointer, as floats."""
        if not is_half:
            return self.load(self.vector, pointer, place, F32)
        b = self.builder
        integers = ir.VectorType(I32, self.width)
        halves = self.load(ir.VectorType(I16, self.width), pointer, place, I16)
        return b.bitcast(
            b.shl(b.zext(halves, integers), ir.Constant(integers, [16] * self.width)), self.vector
        )

    def prefetch(self, pointer: ir.Value, place: ir.Value) -> None:
        """Fetch the line of the cache that is `place` bytes after a pointer, without waiting; it may be anywhere."""
        kind = ir.FunctionType(ir.VoidType(), [POINTER, I32, I32, I32])
        address = self.builder.gep(pointer, [place], source_etype=I8)
        self.builder.call(self.intrinsic("llvm.prefetch.p0", kind), [address, I32(0), I32(3), I32(1)])

    def loop(
        self,
        start: ir.Value,
        stop: ir.Value,
        step: int | ir.Value,
        values: Sequence[ir.Value],
        body: LoopBody,
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
        index.add_incoming(b.add(index, I64(step) if isinstance(step, int) else step), b.block)
        for phi, value in zip(carried, results, strict=True):
            phi.add_incoming(value, b.block)
        b.branch(head)
        b.position_at_end(after)
        return carried


def _alignment(unit: ir.Type) -> int:
    return int(unit.width) // 8 if isinstance(unit, ir.IntType) else 4
