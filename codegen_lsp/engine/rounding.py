"""Round sizes up to those that recorded steps and kernels are made for."""

from __future__ import annotations


def power_of_two(number: int) -> int:
    """Return the smallest power of two that is not smaller.

    >>> [power_of_two(number) for number in (1, 3, 8, 9)]
    [1, 4, 8, 16]
    """
    return 1 << (number - 1).bit_length()
