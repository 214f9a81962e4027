"""Which system calls generated code may make: a seccomp filter, assembled here.

Knows call numbers (x86-64 and arm64) and the classic BPF that the kernel runs. Two strictnesses: inside
namespaces it takes away what could reach the kernel's rarer corners or undo the limits; where there are no
namespaces (`alone=True`) it is the only wall, and also denies writing files, starting processes, and signals
to others.
"""

from __future__ import annotations

import errno
import struct
import sys
from collections.abc import Iterable

from codegen_lsp.evals.sandbox.confined import kernel

# (x86-64, arm64); None where the architecture never had the call.
_CALLS: dict[str, tuple[int | None, int | None]] = {
    "open": (2, None), "openat": (257, 56), "openat2": (437, 437), "creat": (85, None),
    "clone": (56, 220), "clone3": (435, 435), "fork": (57, None), "vfork": (58, None),
    "execve": (59, 221), "execveat": (322, 281),
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "socket": (41, 198), "socketpair": (53, 199), "bind": (49, 200), "connect": (42, 203), "listen": (50, 201),
    "prlimit64": (302, 261), "setpriority": (141, 140), "ioprio_set": (251, 30),
    "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "setpgid": (109, 154), "setsid": (112, 157),
    "truncate": (76, 45), "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276),
    "unlink": (87, None), "unlinkat": (263, 35), "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None),
    "link": (86, None), "linkat": (265, 37), "symlink": (88, None), "symlinkat": (266, 36),
    "mknod": (133, None), "mknodat": (259, 33), "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53),
    "fchmodat2": (452, 452), "chown": (92, None), "fchown": (93, 55), "lchown": (94, None),
    "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None), "utimensat": (280, 88),
    "futimesat": (261, None), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "process_madvise": (440, 440), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "mount_setattr": (442, 442), "move_mount": (429, 429), "open_tree": (428, 428), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "chroot": (161, 51),
    "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "memfd_create": (319, 279), "memfd_secret": (447, 447),
    "shmget": (29, 194), "shmat": (30, 196), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142), "swapon": (167, 224),
    "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "sethostname": (170, 161), "setdomainname": (171, 162), "syslog": (103, 116), "personality": (135, 92),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262),
    "fcntl": (72, 25), "ioctl": (16, 29), "prctl": (157, 167), "flock": (73, 32), "process_mrelease": (448, 448),
    "vhangup": (153, 58), "lookup_dcookie": (212, 18), "migrate_pages": (256, 238), "move_pages": (279, 239),
}  # fmt: skip

_ALWAYS = (
    "socket", "bind", "connect", "listen", "ptrace", "process_vm_readv", "process_vm_writev", "kcmp",
    "process_madvise", "mount", "umount2", "pivot_root", "mount_setattr", "move_mount", "open_tree", "fsopen",
    "fsconfig", "fsmount", "fspick", "chroot", "unshare", "setns", "bpf", "perf_event_open", "userfaultfd",
    "io_uring_setup", "io_uring_enter", "io_uring_register", "memfd_create", "memfd_secret", "shmget",
    "shmat", "semget", "msgget", "mq_open", "keyctl", "add_key", "request_key", "init_module", "finit_module",
    "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "acct", "quotactl",
    "settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "sethostname", "setdomainname", "syslog",
    "personality", "name_to_handle_at", "open_by_handle_at", "fanotify_init", "vhangup", "lookup_dcookie",
    "migrate_pages", "move_pages", "pidfd_getfd", "process_mrelease",
)  # fmt: skip
_ALONE = (
    "creat", "fork", "vfork", "execve", "execveat", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo",
    "pidfd_open", "pidfd_send_signal", "setpriority", "ioprio_set", "sched_setaffinity", "sched_setscheduler",
    "sched_setparam", "sched_setattr", "setpgid", "setsid", "truncate", "rename", "renameat", "renameat2",
    "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "link", "linkat", "symlink", "symlinkat", "mknod",
    "mknodat", "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "utime",
    "utimes", "utimensat", "futimesat", "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr",
    "fremovexattr", "flock",
)  # fmt: skip
_SIGNAL_OWNER = {
    "fcntl": (8, 10, 15, 1024, 1026),  # F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY
    "ioctl": (0x8901, 0x8902, 0x5452, 0x5412, 0x541C),  # FIOSETOWN, SIOCSPGRP, FIOASYNC, TIOCSTI, TIOCLINUX
}
"""Requests that make the kernel signal another process when a descriptor is ready, or type into a terminal."""
_PRCTL = (1, 4, 35, 36, 0x59616D61)
"""PR_SET_PDEATHSIG (outlives its keeper), PR_SET_DUMPABLE, PR_SET_MM, PR_SET_CHILD_SUBREAPER, PR_SET_PTRACER."""
_SET_FLAGS, _ASYNC = 4, 0x2000
_LOCKS = (6, 7, 37, 38)
"""F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW: a lock on a file that can be read keeps others from writing it."""
_DATAGRAMS = 2
"""A bit in the types SOCK_DGRAM and SOCK_RAW: such a socket sends to any address, also if it is one of a pair."""
_FIRST_UNKNOWN = 463
"""Calls from this number on are newer than the table (Linux 6.10); libraries do without them."""
_PRETEND_MISSING = ("clone3", "openat2")
"""Calls whose arguments lie in memory, where a filter can't look: libraries fall back to the older call."""

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_ARCHITECTURE = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_NEW_NAMESPACES = 0x7E020000
_CLONE_THREAD = 0x00010000
_WRITING = 0o1 | 0o2 | 0o100 | 0o1000 | 0o20000000  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_TMPFILE


class UnsupportedError(OSError):
    """The filter isn't written for this machine."""


def _argument(index: int) -> int:
    """Return the offset of the low half of an argument in `struct seccomp_data`."""
    return 16 + 8 * index + (0 if sys.byteorder == "little" else 4)


class _Assembler:
    """Instructions in order; the filter's jumps never leave the few instructions that one rule takes."""

    def __init__(self, column: int) -> None:
        self.column = column
        self.code: list[bytes] = []

    def emit(self, code: int, value: int, yes: int = 0, no: int = 0) -> None:
        self.code.append(struct.pack("=HBBI", code, yes, no, value))

    def deny(self, names: Iterable[str], error: int) -> None:
        for name in names:
            number = _CALLS[name][self.column]
            if number is not None:
                self.emit(_JUMP_EQUAL, number, 0, 1)
                self.emit(_RETURN, _ERROR | error)

    def deny_where(self, name: str, argument: int, test: tuple[int, int], *, holds: bool, error: int) -> None:
        """Deny a call where the test of one argument (instruction, operand) holds, or where it doesn't."""
        number = _CALLS[name][self.column]
        if number is None:
            return
        self.emit(_JUMP_EQUAL, number, 0, 4)
        self.emit(_LOAD, _argument(argument))
        self.emit(*test, *((0, 1) if holds else (1, 0)))
        self.emit(_RETURN, _ERROR | error)
        self.emit(_LOAD, 0)

    def deny_async_flag(self) -> None:
        """Deny `fcntl(_, F_SETFL, O_ASYNC)`, which tests two arguments."""
        number = _CALLS["fcntl"][self.column]
        assert number is not None
        self.emit(_JUMP_EQUAL, number, 0, 6)
        self.emit(_LOAD, _argument(1))
        self.emit(_JUMP_EQUAL, _SET_FLAGS, 0, 3)
        self.emit(_LOAD, _argument(2))
        self.emit(_JUMP_ANY_BIT, _ASYNC, 0, 1)
        self.emit(_RETURN, _ERROR | errno.EPERM)
        self.emit(_LOAD, 0)


def build(*, alone: bool, pid: int) -> bytes:
    """Return the filter for a process `pid`, as an array of `struct sock_filter`.

    Raises:
        UnsupportedError: the machine is neither x86-64 nor arm64.
    """
    if kernel.MACHINE not in _ARCHITECTURE:
        raise UnsupportedError(errno.ENOSYS, f"seccomp: no table of calls for {kernel.MACHINE}")
    column, architecture = _ARCHITECTURE[kernel.MACHINE]
    rules = _Assembler(column)
    rules.emit(_LOAD, 4)
    rules.emit(_JUMP_EQUAL, architecture, 1, 0)
    rules.emit(_RETURN, _KILL)
    rules.emit(_LOAD, 0)
    rules.emit(_JUMP_GREATER_EQUAL, 0x40000000, 0, 1)  # the x32 calls: other numbers for the same things
    rules.emit(_RETURN, _ERROR | errno.ENOSYS)
    rules.emit(_JUMP_GREATER_EQUAL, _FIRST_UNKNOWN, 0, 1)
    rules.emit(_RETURN, _ERROR | errno.ENOSYS)
    rules.deny(_PRETEND_MISSING, errno.ENOSYS)
    rules.deny(_ALWAYS, errno.EACCES)
    rules.deny_where("clone", 0, (_JUMP_ANY_BIT, _NEW_NAMESPACES), holds=True, error=errno.EPERM)
    for name, requests in _SIGNAL_OWNER.items():
        for request in requests:
            rules.deny_where(name, 1, (_JUMP_EQUAL, request), holds=True, error=errno.EPERM)
    for option in _PRCTL:
        rules.deny_where("prctl", 0, (_JUMP_EQUAL, option), holds=True, error=errno.EPERM)
    rules.deny_async_flag()
    rules.deny_where("socketpair", 1, (_JUMP_ANY_BIT, _DATAGRAMS), holds=True, error=errno.EACCES)
    if alone:
        _deny_the_outside(rules, pid)
    rules.emit(_RETURN, _ALLOW)
    return b"".join(rules.code)


def _deny_the_outside(rules: _Assembler, pid: int) -> None:
    rules.deny(_ALONE, errno.EPERM)
    rules.deny_where("clone", 0, (_JUMP_ANY_BIT, _CLONE_THREAD), holds=False, error=errno.EAGAIN)
    rules.deny_where("open", 1, (_JUMP_ANY_BIT, _WRITING), holds=True, error=errno.EROFS)
    rules.deny_where("openat", 2, (_JUMP_ANY_BIT, _WRITING), holds=True, error=errno.EROFS)
    for request in _LOCKS:
        rules.deny_where("fcntl", 1, (_JUMP_EQUAL, request), holds=True, error=errno.EPERM)
    for name in ("kill", "tgkill"):
        rules.deny_where(name, 0, (_JUMP_EQUAL, pid), holds=False, error=errno.EPERM)
    # Limits of other processes: 0 is oneself, and one's own limits can only be lowered.
    rules.deny_where("prlimit64", 0, (_JUMP_EQUAL, 0), holds=False, error=errno.EPERM)
