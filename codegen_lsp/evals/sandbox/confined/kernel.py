"""The Linux calls the sandbox needs and Python 3.11 doesn't wrap, each raising `OSError` with its name.

Knows numbers and structures of the kernel's interface (x86-64 and arm64). Decides nothing.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
AT_FDCWD, AT_RECURSIVE = -100, 0x8000

READ_ANY_FILE = 1 << 2  # CAP_DAC_READ_SEARCH
_PR_SET_KEEPCAPS = 8
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 1, 4, 22, 24
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522

MACHINE = platform.machine()
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAPSET = {"x86_64": 126, "aarch64": 91}
_MOUNT_SETATTR = 442  # calls since Linux 5.1 have one number on every architecture
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, name: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def syscall(name: str, number: int | None, *arguments: object) -> int:
    """Return the result of a system call by its number; integers are passed as longs.

    Raises:
        OSError: the kernel refused, or this machine's number is unknown (`ENOSYS`).
    """
    if number is None:
        raise OSError(38, f"{name}: unknown on {MACHINE}")
    passed = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *passed), name)


def unshare(flags: int) -> None:
    """Make new namespaces for this process (`CLONE_NEWPID`: for its children)."""
    _checked(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """Mount `source` on `target`."""
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode() or None
    )
    _checked(result, f"mount {target}")


def make_read_only(target: str) -> None:
    """Make a mount and all mounts below it read-only, without devices and set-user-id programs (Linux 5.12)."""

    class MountAttr(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]

    attr = MountAttr(attr_set=MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID)
    path = ctypes.c_char_p(target.encode())
    size = ctypes.sizeof(attr)
    syscall("mount_setattr", _MOUNT_SETATTR, AT_FDCWD, path, AT_RECURSIVE, ctypes.byref(attr), size)


def pivot_root(new_root: str) -> None:
    """Make `new_root` the root of this mount namespace and let go of the old one."""
    os.chdir(new_root)
    current = ctypes.c_char_p(b".")
    syscall("pivot_root", _PIVOT_ROOT.get(MACHINE), current, current)
    # The old root now lies on top of the new one, at the same place.
    _checked(_libc.umount2(b".", MNT_DETACH), "umount2")
    os.chdir("/")


def _prctl(name: str, option: int, *arguments: int) -> None:
    padded = [*arguments, 0, 0, 0, 0][:4]
    _checked(_libc.prctl(ctypes.c_int(option), *(ctypes.c_ulong(a) for a in padded)), f"prctl {name}")


def die_with_parent(parent: int) -> None:
    """Be killed when the parent ends, also when it ended just before this call."""
    _prctl("PDEATHSIG", _PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def hide_from_debuggers() -> None:
    """Keep processes of the same user from reading this one's memory and environment."""
    _prctl("DUMPABLE", _PR_SET_DUMPABLE, 0)


def show_to_parent() -> None:
    """Let the keeper look at this process; a change of user had made it private."""
    _prctl("DUMPABLE", _PR_SET_DUMPABLE, 1)


def keep_capabilities() -> None:
    """Keep the privileges over the next change of user, for `drop_capabilities` to choose from."""
    _prctl("KEEPCAPS", _PR_SET_KEEPCAPS, 1)


def drop_capabilities(keep: int = 0) -> None:
    """Give up every privilege of this process for good, but those whose bits are set in `keep`."""
    _prctl("CAP_AMBIENT", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(64):
        try:
            _prctl("CAPBSET_DROP", _PR_CAPBSET_DROP, capability)
        except OSError:  # past the last one, or not ours to drop (then exec is what no_new_privs guards)
            break
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    capability_sets = (ctypes.c_uint32 * 6)(keep, keep, 0)
    syscall("capset", _CAPSET.get(MACHINE), ctypes.byref(header), ctypes.byref(capability_sets))


def forbid_new_privileges() -> None:
    """Keep the programs that this process or its children start from gaining privileges."""
    _prctl("NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)


def install_filter(program: bytes) -> None:
    """Install a seccomp filter, given as an array of `struct sock_filter` (8 bytes each)."""

    class SockFprog(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

    fprog = SockFprog(len(program) // 8, program)
    result = _libc.prctl(
        ctypes.c_int(_PR_SET_SECCOMP), ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(fprog)
    )
    _checked(result, "prctl SECCOMP")
