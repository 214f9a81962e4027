"""The kernel for attention of a few new tokens: scores, softmax and mean, a head at a time.

A thread stays with a head until its last token. Up to `TOKENS` new tokens share one pass over keys and values, which
are converted in registers from the 16 or 32 bits that they are kept in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from llvmlite import ir

from codegen_lsp.engine.quantized.writer import (
    F32,
    FOUR,
    I64,
    LINE,
    LOWEST,
    KernelWriter,
    compiled,
    vector_width,
)

FIELDS = (
    "heads",
    "sharing",
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
"""Numbers of heads, of neighbouring ones that share keys and values, of groups of rows that share positions, of new
tokens in a group and in a row, of shared positions and of a row's own ones; steps from one row or head to the next;
floats of scratch for one token; addresses."""

TOKENS = 4
"""Number of new tokens that share one pass over the keys and values of a head."""

AHEAD = 4096
"""How many bytes ahead of what is read the next keys or values are fetched.

With several tokens a processor doesn't look ahead far enough by itself.
"""

ACCUMULATORS = 8
"""Number of vectors that are summed up in one turn over the values of a head."""


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
        start, stop = self.part_of(units, 1)
        self.loop(start, stop, 1, (), self._unit)
        b.ret_void()

    def _unit(self, unit: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Compute one head of one group of rows."""
        b = self.builder
        head, group = b.srem(unit, self.names["heads"]), b.sdiv(unit, self.names["heads"])
        items = self.names["items"]
        rest = b.srem(items, I64(TOKENS))
        whole = b.sub(items, rest)
        self.loop(I64(0), whole, TOKENS, (), lambda item, _: self._items(head, group, item, TOKENS))
        for count in range(1, TOKENS):
            with b.if_then(b.icmp_signed("==", rest, I64(count))):
                self._items(head, group, whole, count)
        return ()

    def _items(self, head: ir.Value, group: ir.Value, first: ir.Value, count: int) -> Sequence[ir.Value]:
        """Compute some new tokens of one head: each sees what is shared, its row's tokens before it, and itself."""
        names, b = self.names, self.builder
        items = [self._item(head, group, b.add(first, I64(i)), I64(i)) for i in range(count)]
        key_head = b.sdiv(head, names["sharing"])
        start = b.add(b.mul(group, names["shared_row"]), b.mul(key_head, names["shared_head"]))
        self._scores(names["shared"], self.shared[0], start, I64(0), items)
        self.loop(
            I64(0),
            I64(count),
            1,
            (),
            lambda i, _: self._own_part(self._item(head, group, b.add(first, i), i)),
        )
        step = ACCUMULATORS // count
        for part in range(0, self.parts, step):
            parts = range(part, min(part + step, self.parts))
            sums = [self._at(self.outputs, item.row, which) for item in items for which in parts]
            sums = list(self._sums(names["shared"], self.shared[1], start, I64(0), items, parts, sums))
            for item in items:
                total = self.everywhere(self.load(F32, item.scratch, self._last()))
                for which in parts:
                    self.store(b.fdiv(sums.pop(0), total), self.outputs, self._place(item, which))
        return ()

    def _own_part(self, item: _Item) -> Sequence[ir.Value]:
        """Weigh everything that a token sees, keep the sum of weights, and add up the values of its own row."""
        names, b = self.names, self.builder
        self._scores(item.seen, self.own[0], item.start, names["shared"], [item])
        total = self._exponentials(b.add(names["shared"], item.seen), item.scratch)
        self.store(total, item.scratch, self._last())
        for part in range(0, self.parts, ACCUMULATORS):
            parts = range(part, min(part + ACCUMULATORS, self.parts))
            zeros = self.zeros(len(parts))
            sums = self._sums(item.seen, self.own[1], item.start, names["shared"], [item], parts, zeros)
            for which, value in zip(parts, sums, strict=True):
                self.store(value, self.outputs, self._place(item, which))
        return ()

    def _last(self) -> ir.Value:
        """Return the place of the sum of weights in a token's scratch."""
        return self.builder.sub(self.names["room"], I64(1))

    def _place(self, item: _Item, part: int) -> ir.Value:
        return self.builder.add(item.row, I64(part * self.width))

    def _item(self, head: ir.Value, group: ir.Value, number: ir.Value, index: ir.Value) -> _Item:
        """Return where the numbers of a group's new token are; `index` is its place in a tile."""
        names, b = self.names, self.builder
        number = b.add(b.mul(group, names["items"]), number)
        row, token = b.sdiv(number, names["new"]), b.srem(number, names["new"])
        before = b.sub(names["own"], names["new"])
        place = b.add(b.mul(number, names["heads"]), head)
        key_head = b.sdiv(head, names["sharing"])
        return _Item(
            row=b.mul(place, I64(self.head)),
            start=b.add(b.mul(row, names["own_row"]), b.mul(key_head, names["own_head"])),
            seen=b.add(before, b.add(token, I64(1))),
            scratch=b.gep(self.scratch, [b.mul(names["room"], index)], source_etype=F32),
        )

    def _scores(
        self, count: ir.Value, keys: ir.Value, start: ir.Value, offset: ir.Value, items: Sequence[_Item]
    ) -> None:
        """Write the products of some tokens' queries with `count` keys into their scratch, from `offset` on."""

        b = self.builder
        whole = b.sub(count, b.srem(count, I64(FOUR)))

        def sums(position: ir.Value) -> list[ir.Value]:
            """Return the products with one key, as vectors that are not added up yet."""
            line = b.add(start, b.mul(position, I64(self.head)))
            self._fetch(keys, line, range(self.parts))
            sums = self.zeros(len(items))
            for part in range(self.parts):
                key = self.stored(keys, b.add(line, I64(part * self.width)), is_half=self.is_half)
                queries = [self._at(self.queries, item.row, part) for item in items]
                sums = [self.multiply_add(query, key, old) for query, old in zip(queries, sums, strict=True)]
            return sums

        def four(position: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
            keyed = [sums(b.add(position, I64(i))) for i in range(FOUR)]
            for item, vectors in zip(items, zip(*keyed, strict=True), strict=True):
                self.store(self.totals(vectors), item.scratch, b.add(position, offset))
            return ()

        def one(position: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
            for item, vector in zip(items, sums(position), strict=True):
                self.store(self.total([vector]), item.scratch, b.add(position, offset))
            return ()

        self.loop(I64(0), whole, FOUR, (), four)
        self.loop(whole, count, 1, (), one)

    def _exponentials(self, seen: ir.Value, scratch: ir.Value) -> ir.Value:
        """Replace each score by the exponential of its distance from the largest; return their sum."""
        # A token's last vector may reach beyond what it sees: what is there counts as nothing, before and after.
        self.store(self.constant(LOWEST), scratch, seen)

        def highest(position: ir.Value, state: Sequence[ir.Value]) -> Sequence[ir.Value]:
            return [self.vector_call("maxnum", state[0], self.load(self.vector, scratch, position, F32))]

        def body(position: ir.Value, state: Sequence[ir.Value]) -> Sequence[ir.Value]:
            scores = self.load(self.vector, scratch, position, F32)
            weights = self.exponential(self.builder.fsub(scores, peak))
            self.store(weights, scratch, position)
            return [self.builder.fadd(state[0], weights)]

        (peaks,) = self.loop(I64(0), seen, self.width, [self.constant(LOWEST)], highest)
        peak = self.everywhere(self.largest(peaks))
        total = self.total(self.loop(I64(0), seen, self.width, self.zeros(1), body))
        self.store(self.constant(0.0), scratch, seen)
        return total

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
            self._fetch(values, line, parts)
            place = b.add(position, offset)
            weights = [self.everywhere(self.load(F32, item.scratch, place)) for item in items]
            places = [b.add(line, I64(part * self.width)) for part in parts]
            loaded = [self.stored(values, each, is_half=self.is_half) for each in places]
            pairs = [(weight, value) for weight in weights for value in loaded]
            return [self.multiply_add(*pair, old) for pair, old in zip(pairs, sums, strict=True)]

        return self.loop(I64(0), count, 1, sums, body)

    def _fetch(self, pointer: ir.Value, line: ir.Value, parts: Sequence[int]) -> None:
        """Fetch these vectors of a key or a value that is read some turns later."""
        size = 2 if self.is_half else 4
        start = self.builder.mul(line, I64(size))
        for place in range(parts[0] * self.width * size, (parts[-1] + 1) * self.width * size, LINE):
            self.prefetch(pointer, self.builder.add(start, I64(AHEAD + place)))

    def _at(self, pointer: ir.Value, start: ir.Value, part: int) -> ir.Value:
        return self.load(self.vector, pointer, self.builder.add(start, I64(part * self.width)), F32)
