"""The inside of the sandbox: what runs in the child process, before and around generated code.

Standard library only, and imported without site-packages. `__main__.py` is the child's program; `sandbox.py`, one
folder up, starts it and knows nothing of system calls. Linux calls are made through `ctypes` because Python 3.11
has no wrapper for them.
"""

from __future__ import annotations

SYSTEM = (
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
)
"""What a program may read besides Python itself: libraries, and devices that hold nothing."""
