"""Tell the end of a program from a program that says it has ended.

A program shares its interpreter with the code that runs it: it can find each descriptor, function and frame, and do
whatever that code does at the end. What it can't do in Python is to stand at the same place of the C stack. The
process stops itself twice, with the same call from the same frame, before and after the program. While the program
runs, the interpreter's own frames for `exec` lie below that place; what runs after an exception (hooks, exit
handlers, finalizers) is called from other functions of the interpreter, whose return addresses lie above it. So the
keeper, from outside, compares the stack pointer and the stack above it.

Machine code that the program loads could still forge a stack. See the package's docstring for what that means.
"""

from __future__ import annotations

import os

_OWN_FRAMES = 512
"""Bytes above the stack pointer that belong to the call itself and to the frame of `__main__`, and may differ."""
_ABOVE = 2048
"""Bytes above those that are compared: the frames of the interpreter that called `__main__`."""


class Witness:
    """Compares the place where a stopped process stands with the place where it stood first (Linux)."""

    def __init__(self, process: int, proc: int | None) -> None:
        """Look at a stopped child; `proc` is a descriptor of `/proc`, perhaps of an outer process namespace.

        Raises:
            OSError: the system doesn't show it.
        """
        if proc is None:
            raise FileNotFoundError("this system has no /proc")
        folder = _folder(process, proc)
        self._registers = os.open(f"{folder}/syscall", os.O_RDONLY, dir_fd=proc)
        self._memory = os.open(f"{folder}/mem", os.O_RDONLY, dir_fd=proc)
        self._place = self._look()

    def sees_the_same_place(self) -> bool:
        """Return whether the process stands where it stood first."""
        try:
            return self._look() == self._place
        except (OSError, ValueError):
            return False

    def _look(self) -> tuple[int, bytes]:
        """Return the stack pointer and the stack above the frames of the call itself."""
        *_, pointer, _ = os.pread(self._registers, 512, 0).split()
        stack_pointer = int(pointer, 16)
        return stack_pointer, os.pread(self._memory, _ABOVE, stack_pointer + _OWN_FRAMES)


def _folder(process: int, proc: int) -> str:
    """Return the child's number in that `/proc`: it is another one there if this process is in a namespace."""
    number = os.readlink("self", dir_fd=proc)
    if number == str(os.getpid()):
        return str(process)
    children = os.open(f"{number}/task/{number}/children", os.O_RDONLY, dir_fd=proc)
    try:
        (child,) = os.read(children, 4096).split()
    finally:
        os.close(children)
    return child.decode()
