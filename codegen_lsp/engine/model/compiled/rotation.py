"""The kernels between projections and attention: queries and keys are rotated, keys and values stored.

Rotary position embeddings (Su et al., RoFormer, arXiv 2104.09864, section 3.2) turn pairs of numbers. CodeGen pairs
neighbours; Llama and its relatives pair the two halves of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from llvmlite import ir

from codegen_lsp.engine.quantized.writer import F32, I16, I32, I64, KernelWriter, compiled, vector_width

FIELDS = (
    "rows",
    "new",
    "heads",
    "division",
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
"""Numbers of rows, of new tokens in each, of heads, and of heads in a chunk (pairs) or of keys (halves); positions in
the buffers and in the sequences of the first new token; steps of the buffers; addresses. Tables have a line for each
position (pairs) or for each new token (halves)."""


@cache
def of_pairs(width: int, rotary: int, *, is_half: bool) -> int:
    """Return the address of the kernel for heads of `width` numbers, of which `rotary` are turned in pairs."""
    return compiled(_PairRotation(width, rotary, is_half=is_half).module)


@cache
def of_halves(width: int, *, is_half: bool) -> int:
    """Return the address of the kernel for heads of `width` numbers whose halves are turned together."""
    return compiled(_HalfRotation(width, is_half=is_half).module)


class _Rotation(KernelWriter):
    """Writes a kernel: each thread computes its part of the heads of all tokens."""

    def __init__(self, head: int, *, is_half: bool) -> None:
        super().__init__(len(FIELDS), vector_width())
        self.head, self.is_half = head, is_half
        b = self.builder
        self.names = dict(zip(FIELDS, self.fields, strict=True))
        self.places = dict(zip(FIELDS[8:], self.pointers(self.fields[8:]), strict=True))
        tokens = b.mul(self.names["rows"], self.names["new"])
        start, stop = self.part_of(b.mul(tokens, self.names["heads"]), 1)
        self.loop(start, stop, 1, (), self._unit)
        b.ret_void()

    def _unit(self, unit: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Compute one head of one token."""
        raise NotImplementedError

    def target(self, number: ir.Value, head: ir.Value) -> ir.Value:
        """Return where a token's keys and values of a head are stored."""
        b, names = self.builder, self.names
        row, token = b.sdiv(number, names["new"]), b.srem(number, names["new"])
        target = b.add(b.mul(row, names["row_step"]), b.mul(head, names["head_step"]))
        return b.add(target, b.mul(b.add(names["before"], token), I64(self.head)))

    def keep(self, value: ir.Value, pointer: ir.Value, place: ir.Value) -> None:
        """Store keys or values, in bfloat16 rounded to the nearest, ties to even."""
        if not self.is_half:
            self.store(value, pointer, place)
            return
        b, integers = self.builder, ir.VectorType(I32, self.width)
        bits = b.bitcast(value, integers)
        one, sixteen, half = (ir.Constant(integers, [n] * self.width) for n in (1, 16, 0x7FFF))
        rounded = b.add(b.add(bits, half), b.and_(b.lshr(bits, sixteen), one))
        self.store(b.trunc(b.lshr(rounded, sixteen), ir.VectorType(I16, self.width)), pointer, place, I16)


class _PairRotation(_Rotation):
    """Writes CodeGen's kernel: neighbouring numbers are rotated, up to a part of a head."""

    def __init__(self, head: int, rotary: int, *, is_half: bool) -> None:
        self.rotary = rotary
        super().__init__(head, is_half=is_half)

    def _unit(self, unit: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Compute one head of one token."""
        b, names = self.builder, self.names
        head, number = b.srem(unit, names["heads"]), b.sdiv(unit, names["heads"])
        token = b.srem(number, names["new"])
        chunk, inside = b.sdiv(head, names["division"]), b.srem(head, names["division"])
        part = b.mul(names["division"], I64(self.head))
        source = b.add(
            b.mul(b.mul(number, names["heads"]), I64(3 * self.head)), b.mul(inside, I64(self.head))
        )
        source = b.add(source, b.mul(chunk, b.mul(part, I64(3))))
        table = b.mul(b.add(names["position"], token), I64(self.rotary))
        target = self.target(number, head)
        query = b.mul(unit, I64(self.head))
        factor = self.constant(self.head**-0.5)
        for start in range(0, self.head, self.width):
            values = [b.add(source, I64(start)), b.add(b.add(source, part), I64(start))]
            values.append(b.add(values[1], part))
            q, v, k = (self.load(self.vector, self.places["parts"], place, F32) for place in values)
            if start < self.rotary:
                q, k = self._rotated([q, k], b.add(table, I64(start)))
            self.store(b.fmul(q, factor), self.places["queries"], b.add(query, I64(start)))
            self.keep(k, self.places["keys"], b.add(target, I64(start)))
            self.keep(v, self.places["values"], b.add(target, I64(start)))
        return ()

    def _rotated(self, values: Sequence[ir.Value], place: ir.Value) -> Sequence[ir.Value]:
        """Rotate neighbouring numbers as the tables at `place` say, which have each angle's value for both."""
        b = self.builder
        cosines, sines = (self.load(self.vector, self.places[n], place, F32) for n in ("cosines", "sines"))
        swap = ir.Constant(ir.VectorType(I32, self.width), [i ^ 1 for i in range(self.width)])
        swapped = [b.shuffle_vector(value, value, swap) for value in values]
        pairs = zip(values, swapped, strict=True)
        return [self.multiply_add(value, cosines, b.fmul(other, sines)) for value, other in pairs]


class _HalfRotation(_Rotation):
    """Writes the kernel of Llama and its relatives, whose queries are more than their keys and values."""

    def _unit(self, unit: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
        b, names = self.builder, self.names
        head, number = b.srem(unit, names["heads"]), b.sdiv(unit, names["heads"])
        keys = names["division"]
        line = b.mul(number, b.mul(b.add(names["heads"], b.mul(keys, I64(2))), I64(self.head)))
        table = b.mul(number, I64(self.head // 2))
        source = b.add(line, b.mul(head, I64(self.head)))
        factor = self.constant(self.head**-0.5)
        for start, value in self._turned(source, table):
            place = b.add(b.mul(unit, I64(self.head)), I64(start))
            self.store(b.fmul(value, factor), self.places["queries"], place)
        with b.if_then(b.icmp_signed("<", head, keys)):
            target = self.target(number, head)
            source = b.add(source, b.mul(names["heads"], I64(self.head)))
            for start, value in self._turned(source, table):
                self.keep(value, self.places["keys"], b.add(target, I64(start)))
            source = b.add(source, b.mul(keys, I64(self.head)))
            for start in range(0, self.head, self.width):
                value = self.load(self.vector, self.places["parts"], b.add(source, I64(start)), F32)
                self.keep(value, self.places["values"], b.add(target, I64(start)))
        return ()

    def _turned(self, source: ir.Value, table: ir.Value) -> Sequence[tuple[int, ir.Value]]:
        """Return a head's vectors after the rotation, each with its place in the head."""
        b, half = self.builder, self.head // 2
        turned = []
        for start in range(0, half, self.width):
            low, high = (
                self.load(self.vector, self.places["parts"], b.add(source, I64(place)), F32)
                for place in (start, start + half)
            )
            cosine, sine = (
                self.load(self.vector, self.places[name], b.add(table, I64(start)), F32)
                for name in ("cosines", "sines")
            )
            turned.append((start, b.fsub(b.fmul(low, cosine), b.fmul(high, sine))))
            turned.append((start + half, self.multiply_add(high, cosine, b.fmul(low, sine))))
        return turned
