"""The last resort where the kernel gives no wall: Python's own audit events, refused.

It keeps honest mistakes from doing harm (a model's `os.remove`, a `subprocess`), and no attack: code that reaches
the interpreter's memory gets past it. `sandbox.py` says so, and asks before it runs anything behind this alone.
"""

from __future__ import annotations

import os
import sys

_REFUSED = (
    "socket.", "subprocess.", "os.fork", "os.posix_spawn", "os.exec", "os.system", "os.spawn", "os.startfile",
    "os.kill", "os.killpg", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate",
    "os.chmod", "os.chown", "os.utime", "os.chflags", "os.setxattr", "os.removexattr",
    "shutil.", "ftplib.", "http.client.", "urllib.", "smtplib.", "imaplib.", "poplib.", "telnetlib.",
    "winreg.", "msvcrt.", "signal.pthread_kill", "resource.prlimit", "pty.spawn", "webbrowser.",
)  # fmt: skip


def install(readable: list[str]) -> None:
    """Refuse, from now on and for good, what touches processes, the network, or files outside `readable`."""
    allowed = tuple(os.path.realpath(p) + os.sep for p in readable)
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    realpath, starts, fsdecode = os.path.realpath, str.startswith, os.fsdecode

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, _mode, flags = arguments
            if isinstance(flags, int) and flags & writing:
                raise PermissionError("the sandbox lets no file be written")
            if isinstance(path, str | bytes) and not starts(realpath(fsdecode(path)) + "/", allowed):
                raise PermissionError("the sandbox lets this file not be read")
        elif starts(event, _REFUSED):
            raise PermissionError(f"the sandbox refuses {event}")

    sys.addaudithook(hook)
