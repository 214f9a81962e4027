"""The kernel for attention of a few new tokens: scores, softmax and mean, a head at a time.

A thread stays with a head until its last token. Up to `TOKENS` new tokens share one pass over keys and values, which
are converted in registers from the 16 or 32 bits that they are kept in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from llvmlite import ir

from codegen_lsp.engine.quantized.writer import F32, I16, I32, I64, KernelWriter, compiled, vector_width

FIELDS = (
    "threads",
    "heads",
    "groups",
    "items",
    "new",
    "shared",
    "own",
    "shared_row",
    "shared_head",
    "own_row",
    "own_head",
    "room",
    "queries",
    "shared_keys",
    "shared_values",
    "own_keys",
    "own_values",
    "outputs",
    "scratch",
)
"""Numbers of heads, of groups of rows that share positions, of new tokens in a group and in a row, of shared positions
and of a row's own ones; steps from one row or head to the next; floats of scratch for one token; addresses."""

TOKENS = 4
"""Number of new tokens that share one pass over the keys and values of a head."""

ACCUMULATORS = 8
"""Number of vectors that are summed up in one turn over the values of a head."""

LOG2_E, LN2_HIGH, LN2_LOW = math.log2(math.e), 0.693359375, -2.12194440e-4
"""The parts of ln 2: multiples of the first are exact in float32 (Cody and Waite, 1980)."""

EXPONENTIAL = (1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0, 1.0)
"""The polynomial of e^x around 0, highest power first; below ln 2 / 2 its error is less than float32's."""

LOWEST = -3e38
SMALLEST = -87.0
"""Smallest exponent of e that float32 holds without losing digits."""


@cache
def kernel(width: int, is_half: bool) -> int:
    """Return the address of the kernel for heads of `width` numbers."""
    return compiled(_Attention(width, is_half).module)


@dataclass(frozen=True, slots=True)
class _Item:
    """Where the numbers of one new token of one head are, in floats from the start of their tensors."""

    row: ir.Value
    """Its query, and its output."""
    start: ir.Value
    """Its row's own keys and values."""
    seen: ir.Value
    """How many of them it sees."""
    scratch: ir.Value


class _Attention(KernelWriter):
    """Writes one kernel."""

    def __init__(self, head: int, is_half: bool) -> None:
        """Write the kernel for heads of `head` numbers in bfloat16 or float32."""
        super().__init__(len(FIELDS), vector_width())
        self.head = head
        self.is_half = is_half
        self.parts = head // self.width
        names = dict(zip(FIELDS, self.fields, strict=True))
        pointers = self.pointers(self.fields[FIELDS.index("queries") :])
        self.queries, *shared, own_keys, own_values, self.outputs, scratch = pointers
        self.names, self.shared, self.own = names, shared, (own_keys, own_values)
        b = self.builder
        place = b.mul(self.thread_number(), b.mul(names["room"], I64(TOKENS)))
        self.scratch = b.gep(scratch, [place], source_etype=F32)
        units = b.mul(names["groups"], names["heads"])
        start, stop = self.part_of(units, names["threads"], 1)
        self.loop(start, stop, 1, (), self._unit)
        b.ret_void()

    def _unit(self, unit: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Compute one head of one group of rows."""
        b = self.builder
        head, group = b.srem(unit, self.names["heads"]), b.sdiv(unit, self.names["heads"])
        items = self.names["items"]
        whole = b.sub(items, b.srem(items, I64(TOKENS)))
        self.loop(I64(0), whole, TOKENS, (), lambda item, _: self._items(head, group, item, TOKENS))
        self.loop(whole, items, 1, (), lambda item, _: self._items(head, group, item, 1))
        return ()

    def _items(self, head: ir.Value, group: ir.Value, first: ir.Value, count: int) -> Sequence[ir.Value]:
        """Compute some new tokens of one head: each sees what is shared, its row's tokens before it, and itself."""
        items = [self._item(head, group, self.builder.add(first, I64(i)), i) for i in range(count)]
        names, b = self.names, self.builder
        start = b.add(b.mul(group, names["shared_row"]), b.mul(head, names["shared_head"]))
        self._scores(names["shared"], self.shared[0], start, I64(0), items)
        for item in items:
            self._scores(item.seen, self.own[0], item.start, names["shared"], [item])
        totals = [self._exponentials(b.add(names["shared"], item.seen), item.scratch) for item in items]
        step = ACCUMULATORS // count
        for part in range(0, self.parts, step):
            parts = range(part, min(part + step, self.parts))
            zeros = self.zeros(len(parts) * count)
            sums = self._sums(names["shared"], self.shared[1], start, I64(0), items, parts, zeros)
            for number, (item, total) in enumerate(zip(items, totals, strict=True)):
                mine = sums[number * len(parts) :][: len(parts)]
                mine = self._sums(item.seen, self.own[1], item.start, names["shared"], [item], parts, mine)
                for which, value in zip(parts, mine, strict=True):
                    mean = b.fdiv(value, self.everywhere(total))
                    self.store(mean, self.outputs, b.add(item.row, I64(which * self.width)))
        return ()

    def _item(self, head: ir.Value, group: ir.Value, number: ir.Value, index: int) -> _Item:
        """Return where the numbers of a group's new token are; `index` is its place in a tile."""
        names, b = self.names, self.builder
        number = b.add(b.mul(group, names["items"]), number)
        row, token = b.sdiv(number, names["new"]), b.srem(number, names["new"])
        before = b.sub(names["own"], names["new"])
        place = b.add(b.mul(b.add(b.mul(row, names["heads"]), head), names["new"]), token)
        return _Item(
            row=b.mul(place, I64(self.head)),
            start=b.add(b.mul(row, names["own_row"]), b.mul(head, names["own_head"])),
            seen=b.add(before, b.add(token, I64(1))),
            scratch=b.gep(self.scratch, [b.mul(names["room"], I64(index))], source_etype=F32),
        )

    def _scores(
        self, count: ir.Value, keys: ir.Value, start: ir.Value, offset: ir.Value, items: Sequence[_Item]
    ) -> None:
        """Write the products of some tokens' queries with `count` keys into their scratch, from `offset` on."""

        def body(position: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
            line = self.builder.add(start, self.builder.mul(position, I64(self.head)))
            chains = [self.zeros(min(2, self.parts)) for _ in items]
            for part in range(self.parts):
                key = self._stored(keys, line, part)
                for item, chain in zip(items, chains, strict=True):
                    query = self._at(self.queries, item.row, part)
                    chain[part % 2] = self.multiply_add(query, key, chain[part % 2])
            place = self.builder.add(position, offset)
            for item, chain in zip(items, chains, strict=True):
                self.store(self.total(chain), item.scratch, place)
            return ()

        self.loop(I64(0), count, 1, (), body)

    def _exponentials(self, seen: ir.Value, scratch: ir.Value) -> ir.Value:
        """Replace each score by the exponential of its distance from the largest; return their sum."""
        # A token's last vector may reach beyond what it sees: what is there counts as nothing, before and after.
        self.store(self.constant(LOWEST), scratch, seen)

        def highest(position: ir.Value, state: Sequence[ir.Value]) -> Sequence[ir.Value]:
            return [self.vector_call("maxnum", state[0], self.load(self.vector, scratch, position, F32))]

        def body(position: ir.Value, state: Sequence[ir.Value]) -> Sequence[ir.Value]:
            scores = self.load(self.vector, scratch, position, F32)
            weights = self._exponential(self.builder.fsub(scores, peak))
            self.store(weights, scratch, position)
            return [self.builder.fadd(state[0], weights)]

        (peaks,) = self.loop(I64(0), seen, self.width, [self.constant(LOWEST)], highest)
        peak = self.everywhere(self.largest(peaks))
        total = self.total(self.loop(I64(0), seen, self.width, self.zeros(1), body))
        self.store(self.constant(0.0), scratch, seen)
        return total

    def _exponential(self, value: ir.Value) -> ir.Value:
        """Return e^x of each lane, and 0 below the smallest exponent."""
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

    def _sums(
        self,
        count: ir.Value,
        values: ir.Value,
        start: ir.Value,
        offset: ir.Value,
        items: Sequence[_Item],
        parts: Sequence[int],
        sums: Sequence[ir.Value],
    ) -> Sequence[ir.Value]:
        """Add some vectors of `count` values, weighted by each token's scratch from `offset` on."""
        b = self.builder

        def body(position: ir.Value, sums: Sequence[ir.Value]) -> Sequence[ir.Value]:
            line = b.add(start, b.mul(position, I64(self.head)))
            place = b.add(position, offset)
            weights = [self.everywhere(self.load(F32, item.scratch, place)) for item in items]
            loaded = [self._stored(values, line, part) for part in parts]
            pairs = [(weight, value) for weight in weights for value in loaded]
            return [self.multiply_add(*pair, old) for pair, old in zip(pairs, sums, strict=True)]

        return self.loop(I64(0), count, 1, sums, body)

    def _at(self, pointer: ir.Value, start: ir.Value, part: int) -> ir.Value:
        return self.load(self.vector, pointer, self.builder.add(start, I64(part * self.width)), F32)

    def _stored(self, pointer: ir.Value, start: ir.Value, part: int) -> ir.Value:
        """Load a vector of keys or values as float32."""
        if not self.is_half:
            return self._at(pointer, start, part)
        b = self.builder
        place = b.add(start, I64(part * self.width))
        halves = self.load(ir.VectorType(I16, self.width), pointer, place, I16)
        integers = ir.VectorType(I32, self.width)
        bits = b.shl(b.zext(halves, integers), ir.Constant(integers, [16] * self.width))
        return b.bitcast(bits, self.vector)
