"""Products of rows of 16-bit activations with int8 or int4 weights, and of floats with bfloat16 weights.

One kernel exists for each format and number of rows in a tile. Weights are widened in registers: a step reads each of
them once, and a prompt once for each part of it that the processor's cache holds. Products of pairs are summed up as
integers, so that only the weights are rounded, and the result does not depend on how many rows are multiplied at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

from llvmlite import ir

from codegen_lsp.engine.quantized.formats import GROUP
from codegen_lsp.engine.quantized.writer import (
    F32,
    FOUR,
    I8,
    I16,
    I32,
    I64,
    LINE,
    KernelWriter,
    compiled,
    vector_width,
)

FIELDS = (
    "tiles",
    "columns",
    "width",
    "block",
    "weights",
    "scales",
    "bias",
    "inputs",
    "input_scales",
    "input_sums",
    "outputs",
    "step",
    "taken",
)
"""A kernel's argument: numbers of tiles of rows, of columns of the product and of weights in each; how many columns are
multiplied with all rows before the next ones; addresses; the number of floats from one row of outputs to the next; how
many blocks of columns threads have taken, where they take them in turns."""

EXACT = 4096
"""Number of weights whose products fit into the sums of 32 bits of one vector, whatever their values."""

AHEAD = 6144
"""How many bytes ahead of the weights that are multiplied the next ones are fetched.

With several rows a processor doesn't look ahead far enough by itself: it waits for memory and computes in turns.
"""

MANY = {16: (6, 4), 8: (4, 2), 4: (4, 4)}
"""Rows and columns of a tile of many rows, by the number of floats in a vector."""

DEEP = {8: (3, 3)}
"""The same for rows of more than `LONG` weights in int8, of which fewer stay in a core's first cache."""

LONG = 2048
"""Number of weights up to which a tile of rows stays in a core's first cache."""


KernelFormat = Literal["int8", "int4", "bfloat16"]
"""The number format of weights: those of quantized layers, and one for weights that were trained in it."""

BYTES: dict[KernelFormat, tuple[int, int]] = {"int8": (1, 1), "int4": (1, 2), "bfloat16": (2, 1)}
"""Bytes of weights, for a number of weights."""

INT4_CHAINS = 4
"""Number of sums of a single row of int4 weights that go on side by side."""

LEAST_BITS = 0xFFFF0000
"""The bits of a group's two numbers that are its least weight: a number in bfloat16 is the upper half of a float."""

CHAINS = 8
"""Number of sums of floats that go on side by side: enough to hide the latency of a multiply-add on two units."""


@cache
def kernel(
    number_format: KernelFormat, rows: int, columns: int, *, adds: bool = False, in_turns: bool = False
) -> int:
    """Return the address of the compiled kernel for tiles of `rows` rows and some columns; it reads `FIELDS`.

    With `adds` products are added to the outputs. With `in_turns` a thread that is done with a block of columns takes
    the next one, so that none waits long for one whose core other programs use; without, each has its part.
    """
    return compiled(_Product(number_format, rows, columns, adds=adds, in_turns=in_turns).module)


def largest_tile(*, is_deep: bool = False) -> tuple[int, int]:
    """Return the maximum numbers of rows and columns in a tile."""
    width = vector_width()
    return DEEP.get(width, MANY[width]) if is_deep else MANY[width]


class _Product(KernelWriter):
    """Writes one kernel: each thread computes some of the columns, a tile of columns and rows at a time."""

    def __init__(
        self, number_format: KernelFormat, rows: int, columns: int, *, adds: bool, in_turns: bool
    ) -> None:
        """Write the kernel for tiles of `rows` rows and some columns."""
        super().__init__(len(FIELDS), vector_width())
        self.format = number_format
        self.rows = rows
        self.columns = columns
        self.adds = adds
        self.in_turns = in_turns
        self.lanes = 2 * self.width
        """Number of 16-bit integers in a vector."""
        self.integers = ir.VectorType(I32, self.width)
        self.shorts = ir.VectorType(I16, self.lanes)
        self._sums = {"int8": self._int8_sums, "int4": self._int4_sums, "bfloat16": self._float_sums}
        self._write()

    def _write(self) -> None:
        b = self.builder
        tiles, self.count, self.k, block = self.fields[:4]
        self.weights, self.scales, self.bias, *others = self.pointers(self.fields[4:11])
        self.inputs, self.input_scales, self.input_sums, self.outputs = others
        self.step = self.fields[11]
        start, stop = (I64(0), self.count) if self.in_turns else self.part_of(self.count, self.columns)

        def columns(first: ir.Value) -> Sequence[ir.Value]:
            end = b.add(first, block)
            end = b.select(b.icmp_signed("<", end, stop), end, stop)
            whole = b.sub(end, b.srem(b.sub(end, first), I64(self.columns)))

            def rows(tile: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
                row = b.mul(tile, I64(self.rows))
                self.loop(first, whole, self.columns, (), lambda n, _: self._tile(row, n, self.columns))
                self.loop(whole, end, 1, (), lambda n, _: self._tile(row, n, 1))
                return ()

            self.loop(I64(0), tiles, 1, (), rows)
            return ()

        if self.in_turns:
            self.take_turns(FIELDS.index("taken"), self.count, block, columns)
        else:
            self.loop(start, stop, block, (), lambda first, _: columns(first))
        b.ret_void()

    def _tile(self, row: ir.Value, column: ir.Value, columns: int) -> Sequence[ir.Value]:
        """Compute `columns` outputs of each row of a tile."""
        b = self.builder
        lines = [b.mul(b.add(column, I64(i)), self.k) for i in range(columns)]
        rows = [b.mul(b.add(row, I64(i)), self.k) for i in range(self.rows)]
        sums = self._sums[self.format](lines, rows)
        together = FOUR // columns if FOUR % columns == 0 and columns > 1 else self.rows + 1
        whole = self.rows - self.rows % together
        for number in range(0, whole, together):
            places = [b.add(row, I64(number + i)) for i in range(together)]
            four = [sums[i * self.rows + number + j] for j in range(together) for i in range(columns)]
            self._finish_four(places, column, columns, four)
        for number in range(whole, self.rows):
            for index in range(columns):
                place, line = b.add(row, I64(number)), b.add(column, I64(index))
                self._finish(place, line, self.total([sums[index * self.rows + number]]))
        return ()

    def _finish(self, place: ir.Value, line: ir.Value, total: ir.Value) -> None:
        """Store an output, of a row and a column, from its sum."""
        b = self.builder
        if self.format != "bfloat16":
            scale = self.load(F32, self.scales, line) if self.format == "int8" else F32(1.0)
            total = b.fmul(total, b.fmul(scale, self.load(F32, self.input_scales, place)))
        target = b.add(b.mul(place, self.step), line)
        bias = self.load(F32, self.bias, line)
        before = b.fadd(bias, self.load(F32, self.outputs, target)) if self.adds else bias
        self.store(b.fadd(total, before), self.outputs, target)

    def _finish_four(
        self, places: Sequence[ir.Value], column: ir.Value, columns: int, sums: Sequence[ir.Value]
    ) -> None:
        """Store the outputs of some rows and neighbouring columns, four in all, as `_finish` would, but at once."""
        b = self.builder
        line = ir.VectorType(F32, columns)
        total = self.totals(sums)

        def across(pointer: ir.Value, starts: Sequence[ir.Value]) -> ir.Value:
            """Return the numbers of these columns from each start on, in the order of the sums."""
            return self.joined([self.load(line, pointer, start, F32) for start in starts])

        if self.format != "bfloat16":
            inputs = self.joined(
                [self.everywhere(self.load(F32, self.input_scales, place), line) for place in places]
            )
            if self.format == "int8":
                inputs = b.fmul(across(self.scales, [column] * len(places)), inputs)
            total = b.fmul(total, inputs)
        targets = [b.add(b.mul(place, self.step), column) for place in places]
        before = across(self.bias, [column] * len(places))
        if self.adds:
            before = b.fadd(before, across(self.outputs, targets))
        results = b.fadd(total, before)
        for index, target in enumerate(targets):
            self.store(self.lanes_of(results, index * columns, columns), self.outputs, target)

    def _fetch(self, lines: Sequence[ir.Value], k: ir.Value, groups: int = 1) -> None:
        """Fetch as many weights ahead as some groups of each line have, before the groups that start at `k`.

        The lines of a tile, and those of the next one, follow each other in memory.
        """
        b = self.builder
        unit, step = BYTES[self.format]
        place = b.sdiv(b.mul(b.add(lines[0], b.mul(k, I64(len(lines)))), I64(unit)), I64(step))
        for start in range(0, len(lines) * groups * GROUP * unit // step, LINE):
            self.prefetch(self.weights, b.add(place, I64(AHEAD + start)))

    def _int8_sums(self, lines: Sequence[ir.Value], rows: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Return the sums of each line with each row, as vectors of floats that are not added up yet."""
        b = self.builder
        none = ir.Constant(self.integers, [0] * self.width)
        count = len(lines) * len(rows)

        def part(start: ir.Value, floats: Sequence[ir.Value]) -> Sequence[ir.Value]:
            stop = b.add(start, I64(EXACT))
            stop = b.select(b.icmp_signed("<", stop, self.k), stop, self.k)
            sums = self.loop(
                start, stop, GROUP, [none] * count, lambda k, s: self._int8_group(k, lines, rows, s)
            )
            return [b.fadd(old, b.sitofp(new, self.vector)) for old, new in zip(floats, sums, strict=True)]

        return self.loop(I64(0), self.k, EXACT, self.zeros(count), part)

    def _int8_group(
        self, k: ir.Value, lines: Sequence[ir.Value], rows: Sequence[ir.Value], sums: Sequence[ir.Value]
    ) -> Sequence[ir.Value]:
        b = self.builder
        self._fetch(lines, k)
        sums = list(sums)
        bytes_type = ir.VectorType(I8, self.lanes)
        for start in range(0, GROUP, self.lanes):
            place = b.add(k, I64(start))
            inputs = [self.load(self.shorts, self.inputs, b.add(row, place), I16) for row in rows]
            for index, line in enumerate(lines):
                stored = self.load(bytes_type, self.weights, b.add(line, place), I8)
                weights = b.sext(stored, self.shorts)
                for number, values in enumerate(inputs):
                    which = index * len(rows) + number
                    sums[which] = self.add_products(sums[which], values, weights)
        return sums

    def _int4_sums(self, lines: Sequence[ir.Value], rows: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Return the sums as for int8, with each group of weights scaled.

        A weight is a number of steps above its group's least weight, which is multiplied with the sum of the inputs.
        Blocks have as many groups as a vector has lanes. A single sum is several, which need not wait for each other.
        """
        b = self.builder
        count = len(lines) * len(rows)
        chains = INT4_CHAINS if count == 1 else 1
        lines, rows = ([b.sdiv(start, I64(GROUP)) for start in starts] for starts in (lines, rows))
        groups = b.sdiv(self.k, I64(GROUP))
        whole = b.sub(groups, b.srem(groups, I64(self.width)))

        def one(group: ir.Value, sums: Sequence[ir.Value]) -> Sequence[ir.Value]:
            sums = self._int4_least(group, lines, rows, sums, is_block=False)
            return self._int4_group(group, lines, rows, sums)

        def block(first: ir.Value, sums: Sequence[ir.Value]) -> Sequence[ir.Value]:
            self._fetch([b.mul(line, I64(GROUP)) for line in lines], b.mul(first, I64(GROUP)), self.width)
            sums = self._int4_least(first, lines, rows, sums, is_block=True)
            if chains == 1:
                stop = b.add(first, I64(self.width))
                return self.loop(first, stop, 1, sums, lambda g, s: self._int4_group(g, lines, rows, s))
            for index in range(self.width):
                # Each group's sum goes to the chain that has waited longest.
                sums = [*sums[1:], *self._int4_group(b.add(first, I64(index)), lines, rows, sums[:1])]
            return sums

        sums = self.loop(I64(0), whole, self.width, self.zeros(chains * count), block)
        if chains > 1:
            sums = [self._added(sums)]
        return self.loop(whole, groups, 1, sums, one)

    def _int4_least(
        self,
        first: ir.Value,
        lines: Sequence[ir.Value],
        rows: Sequence[ir.Value],
        sums: Sequence[ir.Value],
        *,
        is_block: bool,
    ) -> list[ir.Value]:
        """Add the least weights of a block of groups or of one, times the sums of their inputs, to the first sums."""
        b = self.builder
        sums = list(sums)

        def numbers(pointer: ir.Value, place: ir.Value, vector: ir.VectorType) -> ir.Value:
            """Return those of a block, or that of one group among zeros."""
            if is_block:
                return self.load(vector, pointer, place, vector.element)
            nothing = ir.Constant(vector, [0] * self.width)
            return b.insert_element(nothing, self.load(vector.element, pointer, place), I32(0))

        totals = [numbers(self.input_sums, b.add(row, first), self.vector) for row in rows]
        upper = ir.Constant(self.integers, [LEAST_BITS] * self.width)
        for index, line in enumerate(lines):
            scales = numbers(self.scales, b.add(line, first), self.integers)
            least = b.bitcast(b.and_(scales, upper), self.vector)
            for which, total in enumerate(totals, index * len(rows)):
                sums[which] = self.multiply_add(least, total, sums[which])
        return sums

    def _int4_group(
        self, group: ir.Value, lines: Sequence[ir.Value], rows: Sequence[ir.Value], sums: Sequence[ir.Value]
    ) -> list[ir.Value]:
        """Add a group of weights to the sums; lines and rows are the numbers of their first groups."""
        b = self.builder
        sums = list(sums)
        inputs = [self._int4_inputs(b.add(row, group)) for row in rows]
        for index, line in enumerate(lines):
            weights, size = self._int4_weights(b.add(line, group))
            for which, values in enumerate(inputs, index * len(rows)):
                total = ir.Constant(self.integers, [0] * self.width)
                for value, weight in zip(values, weights, strict=True):
                    total = self.add_products(total, value, weight)
                sums[which] = self.multiply_add(b.sitofp(total, self.vector), size, sums[which])
        return sums

    def _int4_inputs(self, group: ir.Value) -> list[ir.Value]:
        """Return a group of inputs as vectors of 16-bit integers."""
        b = self.builder
        first = b.mul(group, I64(GROUP))
        places = [b.add(first, I64(start)) for start in range(0, GROUP, self.lanes)]
        return [self.load(self.shorts, self.inputs, place, I16) for place in places]

    def _int4_weights(self, group: ir.Value) -> tuple[list[ir.Value], ir.Value]:
        """Return a group's numbers of steps as vectors of integers, and the size of a step in every lane."""
        b = self.builder
        half = GROUP // 2
        scales = self.everywhere(self.load(I32, self.scales, group), self.integers)
        # The size is a number in bfloat16, the upper half of a float, in the lower half of an integer.
        size = b.bitcast(b.shl(scales, ir.Constant(self.integers, [16] * self.width)), self.vector)
        shorts = ir.VectorType(I16, half)
        stored = self.load(ir.VectorType(I8, half), self.weights, b.mul(group, I64(half)), I8)
        pairs = b.zext(stored, shorts)
        four, low = (ir.Constant(shorts, [bits] * half) for bits in (4, 15))
        lanes = ir.Constant(ir.VectorType(I32, GROUP), list(range(GROUP)))
        steps = b.shuffle_vector(b.and_(pairs, low), b.lshr(pairs, four), lanes)
        return [self.lanes_of(steps, start, self.lanes) for start in range(0, GROUP, self.lanes)], size

    def _float_sums(self, lines: Sequence[ir.Value], rows: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Return the sums with weights in bfloat16 and inputs in float32."""
        b = self.builder
        count = len(lines) * len(rows)
        chains = max(1, min(GROUP // self.width, CHAINS // count))

        def group(k: ir.Value, sums: Sequence[ir.Value]) -> Sequence[ir.Value]:
            self._fetch(lines, k)
            sums = list(sums)
            for part, start in enumerate(range(0, GROUP, self.width)):
                place = b.add(k, I64(start))
                inputs = [self.load(self.vector, self.inputs, b.add(row, place), F32) for row in rows]
                for index, line in enumerate(lines):
                    weights = self.stored(self.weights, b.add(line, place), is_half=True)
                    for number, values in enumerate(inputs):
                        which = (index * len(rows) + number) * chains + part % chains
                        sums[which] = self.multiply_add(weights, values, sums[which])
            return sums

        sums = self.loop(I64(0), self.k, GROUP, self.zeros(count * chains), group)
        return [self._added(sums[start : start + chains]) for start in range(0, len(sums), chains)]

    def _added(self, chain: Sequence[ir.Value]) -> ir.Value:
        total = chain[0]
        for other in chain[1:]:
            total = self.builder.fadd(total, other)
        return total
