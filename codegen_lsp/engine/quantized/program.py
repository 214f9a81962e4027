"""Programs: compiled kernels that run one after the other on the same threads, with one call from Python for all.

Threads that wait for each other between two kernels look for the others all the time, for as long as a processor is
free: waking a thread takes longer than most kernels.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Sequence
from functools import cache
from typing import Any

from llvmlite import ir

from codegen_lsp.engine.quantized import team
from codegen_lsp.engine.quantized.writer import I32, I64, POINTER, KernelWriter, compiled

FIELDS = ("count", "operations", "meeting")
"""The number of operations; two integers for each, the addresses of a kernel and of its argument, or twice 0 where all
threads meet; the integers that they meet by."""

YIELD = "sched_yield"
"""The system's function that lets other threads run."""

LINE = 16
"""Number of integers from one that threads look at to the next, so that they are in different lines of a cache."""

TURNS = 1 << 12
"""How often a thread looks for the others before it lets other programs run."""

PAUSES = dict.fromkeys(("x86_64", "amd64"), "llvm.x86.sse2.pause")
"""LLVM's name of the instruction for a moment's pause, by the processor's family."""


Arguments = ctypes.Array[ctypes.c_int64]


def arguments(*values: int) -> Arguments:
    """Return a kernel's argument."""
    return (ctypes.c_int64 * len(values))(*values)


class Program:
    """Kernels in the order in which they run, each with its argument."""

    def __init__(self) -> None:
        self._operations: list[int] = []
        self._kept: list[object] = []
        self._argument: Any = None

    def add(self, kernel: int, argument: Any) -> None:
        """Add a kernel; its argument, an array of integers, is read when the program runs."""
        self._operations += [kernel, ctypes.addressof(argument)]
        self._kept.append(argument)

    def meet(self) -> None:
        """Let the next kernel begin when all threads have finished the ones before."""
        self._operations += [0, 0]

    def keep(self, *tensors: object) -> None:
        """Keep what arguments hold the addresses of."""
        self._kept += tensors

    def run(self, threads: int = 0) -> None:
        """Run the kernels on some threads, and wait for their end; 0 leaves their number to `team`."""
        if self._argument is None:
            operations = (ctypes.c_int64 * len(self._operations))(*self._operations)
            meeting = (ctypes.c_int64 * (3 * LINE))()
            self._kept += [operations, meeting]
            count, places = len(operations) // 2, (ctypes.addressof(part) for part in (operations, meeting))
            self._argument = (ctypes.c_int64 * len(FIELDS))(count, *places)
        team.run(runner(), ctypes.addressof(self._argument), threads)


@cache
def runner() -> int:
    """Return the address of the kernel that runs the kernels of a program."""
    return compiled(_Runner().module)


class _KernelPointer(ir.PointerType):  # type: ignore[misc]
    """The type of a kernel's address, with the type of the function for llvmlite to call it by."""

    pointee = ir.FunctionType(ir.VoidType(), [POINTER])


class _Runner(KernelWriter):
    """Writes the function that each thread runs."""

    def __init__(self) -> None:
        super().__init__(len(FIELDS), 4)
        count, *places = self.fields
        self.operations, self.meeting = self.pointers(places)
        self.loop(I64(0), count, 1, (), self._operation)
        self.builder.ret_void()

    def _operation(self, number: ir.Value, _: Sequence[ir.Value]) -> Sequence[ir.Value]:
        b = self.builder
        kernel = self.load(I64, self.operations, b.mul(number, I64(2)))
        argument = self.load(I64, self.operations, b.add(b.mul(number, I64(2)), I64(1)))
        with b.if_else(b.icmp_signed("==", kernel, I64(0))) as (meets, computes):
            with meets:
                self._meet()
            with computes:
                b.call(b.inttoptr(kernel, _KernelPointer()), [b.inttoptr(argument, POINTER)])
        return ()

    def _meet(self) -> None:
        """Wait until all threads are here: the last one to come lets the others go on."""
        b = self.builder
        arrived = b.gep(self.meeting, [I64(LINE)], source_etype=I64)
        rounds = b.gep(self.meeting, [I64(2 * LINE)], source_etype=I64)
        before = b.load_atomic(rounds, "acquire", 8, typ=I64)
        place = b.add(b.atomic_rmw("add", arrived, I64(1), "acq_rel"), I64(1))
        with b.if_else(b.icmp_signed("==", place, self.thread_count())) as (last, others):
            with last:
                b.atomic_rmw("xchg", arrived, I64(0), "monotonic")
                b.atomic_rmw("xchg", rounds, b.add(before, I64(1)), "release")
            with others:
                self._wait(rounds, before)

    def _wait(self, rounds: ir.Value, before: ir.Value) -> None:
        """Wait until the number at an address is another one."""
        b = self.builder
        entry, look, again, done = b.block, *(b.append_basic_block() for _ in range(3))
        b.branch(look)
        b.position_at_end(look)
        turn = b.phi(I64)
        turn.add_incoming(I64(1), entry)
        b.cbranch(b.icmp_signed("==", b.load_atomic(rounds, "acquire", 8, typ=I64), before), again, done)
        b.position_at_end(again)
        if pause := PAUSES.get(platform.machine().lower()):
            b.call(self.intrinsic(pause, ir.FunctionType(ir.VoidType(), [])), [])
        if team.has_threads():
            with b.if_then(b.icmp_signed("==", b.srem(turn, I64(TURNS)), I64(0))):
                b.call(self.intrinsic(YIELD, ir.FunctionType(I32, [])), [])
        turn.add_incoming(b.add(turn, I64(1)), b.block)
        b.branch(look)
        b.position_at_end(done)
