"""The kernel for attention of many new tokens: a block of keys at a time, for all queries of a head.

Queries of rows that share positions go through these together, and then each row through its own.

Scores and mixed values are tiles of outer products, which need no sums across a vector: keys are turned first. Maxima
and sums of weights follow from block to block (online softmax: Milakov and Gimelshein 2018; FlashAttention, Dao et al.
2022, section 3.1), so that scores stay in a core's own cache. Threads take heads in turns.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from codegen_lsp.engine.quantized.attention_kernels import steps
from codegen_lsp.engine.quantized.writer import F32, I32, I64, LOWEST, KernelWriter, compiled, vector_width

FIELDS = (*steps.FIELDS, "taken")
"""Those of a step, with the scratch of a thread in place of a token's; how many heads threads have taken."""

BLOCK = 64
"""Number of keys and values that are read at a time."""

TILE = 6
"""Number of queries in a tile of outer products, each with `ACROSS` vectors of keys or of numbers of a value."""

ACROSS = 2

EVERYTHING = 2**40
"""More positions than there are: a query sees all of them."""


_KERNELS: dict[tuple[int, bool], int] = {}


def prepare(width: int, *, is_half: bool) -> None:
    """Compile the kernel for heads of `width` numbers, which takes as long as a short prompt."""
    if (width, is_half) not in _KERNELS:
        _KERNELS[width, is_half] = compiled(_PromptAttention(width, is_half).module)


def kernel(width: int, *, is_half: bool) -> int | None:
    """Return the address of a kernel that has been prepared, None if it hasn't: no prompt waits for a compiler."""
    return _KERNELS.get((width, is_half))


def room_for(items: int, width: int) -> int:
    """Return the floats of scratch that a thread needs for the new tokens of a group of rows.

    They are a block of keys, its values and scores, and two for each token.
    """
    return 2 * BLOCK * width + BLOCK * TILE + 2 * items + 2 * TILE


class _PromptAttention(KernelWriter):
    """Writes one kernel."""

    def __init__(self, head: int, is_half: bool) -> None:
        """Write the kernel for heads of `head` numbers, with keys and values in bfloat16 or float32."""
        super().__init__(len(FIELDS), vector_width())
        self.head, self.is_half = head, is_half
        self.names = dict(zip(FIELDS, self.fields, strict=True))
        addresses = self.fields[FIELDS.index("queries") : FIELDS.index("taken")]
        self.queries, *keys_and_values, self.outputs, scratch = self.pointers(addresses)
        self.shared, self.own = keys_and_values[:2], keys_and_values[2:]
        b, names = self.builder, self.names
        start = b.mul(self.thread_number(), names["room"])
        sizes = (BLOCK * head, BLOCK * head, BLOCK * TILE, names["items"], names["items"])
        parts = []
        for size in sizes:
            parts.append(b.gep(scratch, [start], source_etype=F32))
            start = b.add(start, I64(size) if isinstance(size, int) else size)
        self.turned, self.floats, self.scores, self.peaks, self.sums = parts
        units = b.mul(names["groups"], names["heads"])
        self.take_turns(FIELDS.index("taken"), units, I64(1), self._unit)
        b.ret_void()

    def _unit(self, unit: ir.Value) -> None:
        """Compute one head of one group of rows."""
        b, names = self.builder, self.names
        group, head = b.sdiv(unit, names["heads"]), b.srem(unit, names["heads"])
        self.step = b.mul(names["heads"], I64(self.head))
        """Floats from one token's query, or output, to the next one's."""
        self.output = b.add(b.mul(b.mul(group, names["items"]), self.step), b.mul(head, I64(self.head)))
        key_head = b.sdiv(head, names["sharing"])
        rows = b.sdiv(names["items"], names["new"])
        self.loop(I64(0), names["items"], 1, (), self._begin)
        self.loop(I64(-1), rows, 1, (), lambda row, _: self._part(group, rows, row, key_head))
        self.loop(I64(0), names["items"], 1, (), self._end)

    def _part(self, group: ir.Value, rows: ir.Value, row: ir.Value, key_head: ir.Value) -> Sequence[ir.Value]:
        """Let the tokens of a row attend to its own positions; with -1, those of all rows to the shared ones."""
        b, names = self.builder, self.names
        is_shared = b.icmp_signed("<", row, I64(0))
        steps_of = [
            (names[f"{kind}_row"], names[f"{kind}_head"], number)
            for kind, number in (("shared", group), ("own", b.add(b.mul(group, rows), row)))
        ]
        starts = [b.add(b.mul(number, line), b.mul(key_head, head)) for line, head, number in steps_of]
        self.start = b.select(is_shared, *starts)
        self.keys, self.values = (
            b.select(is_shared, *pair) for pair in zip(self.shared, self.own, strict=True)
        )
        self.positions = b.select(is_shared, names["shared"], names["own"])
        self.first_token = b.select(is_shared, I64(0), b.mul(row, names["new"]))
        self.count = b.select(is_shared, names["items"], names["new"])
        self.before = b.select(is_shared, I64(EVERYTHING), b.sub(names["own"], names["new"]))
        """Number of positions that the first token sees besides its own."""
        self.loop(I64(0), self.positions, BLOCK, (), self._block)
        return ()

    def _begin(self, token: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
        self.store(F32(LOWEST), self.peaks, token)
        self.store(F32(0.0), self.sums, token)
        for part in range(0, self.head, self.width):
            self.store(self.constant(0.0), self.outputs, self._output(token, part))
        return ()

    def _end(self, token: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
        total = self.everywhere(self.load(F32, self.sums, token))
        for part in range(0, self.head, self.width):
            place = self._output(token, part)
            mixed = self.load(self.vector, self.outputs, place, F32)
            self.store(self.builder.fdiv(mixed, total), self.outputs, place)
        return ()

    def _output(self, token: ir.Value, part: int) -> ir.Value:
        b = self.builder
        return b.add(self.output, b.add(b.mul(token, self.step), I64(part)))

    def _block(self, first: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Let the queries that see a block of keys, from number `first` on, attend to it."""
        b, new = self.builder, self.count
        left = b.sub(self.positions, first)
        count = b.select(b.icmp_signed("<", left, I64(BLOCK)), left, I64(BLOCK))
        self.loop(I64(0), count, 1, (), lambda key, _: self._convert(b.add(first, key), key))
        self.loop(count, I64(BLOCK), 1, (), lambda key, _: self._clear(key))
        hidden = b.sub(first, self.before)
        hidden = b.select(b.icmp_signed("<", hidden, I64(0)), I64(0), hidden)
        seeing = b.sub(hidden, b.srem(hidden, I64(TILE)))
        whole = b.sub(new, b.srem(new, I64(TILE)))
        self.loop(seeing, whole, TILE, (), lambda token, _: self._tile(token, first, count, TILE))
        rest = b.select(b.icmp_signed(">", seeing, whole), seeing, whole)
        self.loop(rest, new, 1, (), lambda token, _: self._tile(token, first, count, 1))
        return ()

    def _convert(self, position: ir.Value, key: ir.Value) -> Sequence[ir.Value]:
        """Write a key, turned, and a value of a block as floats."""
        b = self.builder
        line = b.add(self.start, b.mul(position, I64(self.head)))
        for part in range(0, self.head, self.width):
            place = b.add(line, I64(part))
            values = self.stored(self.values, place, is_half=self.is_half)
            self.store(values, self.floats, b.add(b.mul(key, I64(self.head)), I64(part)))
            keys = self.stored(self.keys, place, is_half=self.is_half)
            for lane in range(self.width):
                number = b.extract_element(keys, I32(lane))
                self.store(number, self.turned, b.add(I64((part + lane) * BLOCK), key))
        return ()

    def _clear(self, key: ir.Value) -> Sequence[ir.Value]:
        """Write zeros for a key that there isn't; its value is never read."""
        for number in range(self.head):
            self.store(F32(0.0), self.turned, self.builder.add(I64(number * BLOCK), key))
        return ()

    def _tile(self, token: ir.Value, first: ir.Value, count: ir.Value, rows: int) -> Sequence[ir.Value]:
        """Let `rows` queries from `token` on attend to the `count` keys of a block, which starts at number `first`."""
        b = self.builder
        limits = []
        for index in range(rows):
            limit = b.add(b.sub(b.add(self.before, b.add(token, I64(index))), first), I64(1))
            limits.append(b.select(b.icmp_signed("<", limit, count), limit, count))
        # The last query sees the most, and more than none.
        seen = limits[-1]
        tokens = [b.add(self.first_token, b.add(token, I64(index))) for index in range(rows)]
        span = ACROSS * self.width
        self.loop(I64(0), seen, span, (), lambda key, _: self._score(tokens, limits, key))
        factors = [self._weigh(place, index, seen) for index, place in enumerate(tokens)]
        for part in range(0, self.head, span):
            vectors = [part + index for index in range(0, min(span, self.head - part), self.width)]
            places = [[self._output(place, start) for start in vectors] for place in tokens]
            mixed = [
                b.fmul(self.load(self.vector, self.outputs, place, F32), factor)
                for factor, line in zip(factors, places, strict=True)
                for place in line
            ]

            def add(
                key: ir.Value, mixed: Sequence[ir.Value], vectors: Sequence[int] = vectors
            ) -> Sequence[ir.Value]:
                line = b.mul(key, I64(self.head))
                values = [
                    self.load(self.vector, self.floats, b.add(line, I64(start)), F32) for start in vectors
                ]
                weights = [self._scores_at(index, key) for index in range(rows)]
                return self._outer(weights, values, mixed)

            sums = self.loop(I64(0), seen, 1, mixed, add)
            for place, value in zip([place for line in places for place in line], sums, strict=True):
                self.store(value, self.outputs, place)
        return ()

    def _score(
        self, tokens: Sequence[ir.Value], limits: Sequence[ir.Value], key: ir.Value
    ) -> Sequence[ir.Value]:
        """Write the products of some queries with `ACROSS` vectors of keys; hidden ones are the lowest number."""
        b = self.builder
        lines = [self._output(token, 0) for token in tokens]
        starts = [b.add(key, I64(index * self.width)) for index in range(ACROSS)]

        def add(number: ir.Value, sums: Sequence[ir.Value]) -> Sequence[ir.Value]:
            line = b.mul(number, I64(BLOCK))
            keys = [self.load(self.vector, self.turned, b.add(line, start), F32) for start in starts]
            queries = [self.load(F32, self.queries, b.add(line, number)) for line in lines]
            return self._outer(queries, keys, sums)

        sums = list(self.loop(I64(0), I64(self.head), 1, self.zeros(len(tokens) * ACROSS), add))
        integers = ir.VectorType(I32, self.width)
        lanes = ir.Constant(integers, list(range(self.width)))
        for index, limit in enumerate(limits):
            for start in starts:
                left = b.trunc(b.sub(limit, start), I32)
                hidden = b.icmp_signed(">=", lanes, self.everywhere(left, integers))
                scores = b.select(hidden, self.constant(LOWEST), sums.pop(0))
                self.store(scores, self.scores, b.add(I64(index * BLOCK), start))
        return ()

    def _weigh(self, token: ir.Value, index: int, seen: ir.Value) -> ir.Value:
        """Replace a query's scores by weights; return the factor of what it has mixed so far, in every lane."""
        b = self.builder
        line = I64(index * BLOCK)

        def highest(key: ir.Value, state: Sequence[ir.Value]) -> Sequence[ir.Value]:
            return [
                self.vector_call(
                    "maxnum", state[0], self.load(self.vector, self.scores, b.add(line, key), F32)
                )
            ]

        old = self.everywhere(self.load(F32, self.peaks, token))
        (peaks,) = self.loop(I64(0), seen, self.width, [old], highest)
        peak = self.everywhere(self.largest(peaks))

        def weigh(key: ir.Value, state: Sequence[ir.Value]) -> Sequence[ir.Value]:
            place = b.add(line, key)
            weights = self.exponential(b.fsub(self.load(self.vector, self.scores, place, F32), peak))
            self.store(weights, self.scores, place)
            return [b.fadd(state[0], weights)]

        total = self.total(self.loop(I64(0), seen, self.width, self.zeros(1), weigh))
        factor = self.exponential(b.fsub(old, peak))
        first = b.extract_element(factor, I32(0))
        before = b.fmul(self.load(F32, self.sums, token), first)
        self.store(b.fadd(before, total), self.sums, token)
        self.store(b.extract_element(peak, I32(0)), self.peaks, token)
        return factor

    def _scores_at(self, index: int, key: ir.Value) -> ir.Value:
        return self.load(F32, self.scores, self.builder.add(I64(index * BLOCK), key))

    def _outer(
        self, numbers: Sequence[ir.Value], vectors: Sequence[ir.Value], sums: Sequence[ir.Value]
    ) -> list[ir.Value]:
        """Add the products of each number with each vector to the sums, those of a number one after the other."""
        pairs = [(self.everywhere(number), vector) for number in numbers for vector in vectors]
        return [self.multiply_add(*pair, total) for pair, total in zip(pairs, sums, strict=True)]
