"""The devices that a cluster is planned for, with the figures of their data sheets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One processor with the figures of its data sheet, as sold in its usual server."""

    name: str
    bandwidth: float
    """Bytes per second."""
    arithmetic: float
    """Floating point operations per second in bfloat16 or float16, dense."""
    memory: int
    """Bytes."""


DEVICES = {
    device.name: device
    for device in (
        Accelerator("l4", 300e9, 121e12, 24 * 10**9),
        Accelerator("a10g", 600e9, 70e12, 24 * 10**9),
        Accelerator("l40s", 864e9, 362e12, 48 * 10**9),
        Accelerator("a100", 2.04e12, 312e12, 80 * 10**9),
        Accelerator("h100", 3.35e12, 989e12, 80 * 10**9),
        Accelerator("h200", 4.8e12, 989e12, 141 * 10**9),
        Accelerator("mi300x", 5.3e12, 1307e12, 192 * 10**9),
    )
}
