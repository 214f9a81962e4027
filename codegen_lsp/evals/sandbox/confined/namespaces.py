"""A machine of its own for generated code: namespaces, and a root that holds Python and an empty folder.

What is not mounted is not there: no home, no configuration, no sockets of other programs, no `/proc`. The one
folder that can be written lies in memory and has a size.
"""

from __future__ import annotations

import os
from pathlib import Path

from codegen_lsp.evals.sandbox.confined import kernel

NOBODY = 65534
WORK = "/tmp"
_SEPARATE = (
    kernel.CLONE_NEWNS
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWCGROUP
)


def enter() -> None:
    """Leave the parent's namespaces; the process forked next is the first of a process namespace.

    Root needs no user namespace (and becomes `nobody` inside, see `become_nobody`); other users get the rights to
    mount from one.

    Raises:
        OSError: the kernel, or a container around us, doesn't allow it.
    """
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        try:
            kernel.unshare(_SEPARATE)
            return
        except PermissionError:
            pass  # root in a container, with few of root's rights: as an ordinary user then
    kernel.unshare(kernel.CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
    kernel.unshare(_SEPARATE)


def build_root(folder: str, readable: list[str], disk: int) -> None:
    """Make a root at the empty `folder`, move into it, and let go of the old one.

    `disk` is the size in bytes of the one folder that can be written, `/tmp`.
    """
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("tmpfs", folder, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=1m,mode=0755")
    paths = _without_nested(readable)
    inside = [path for path in paths if path.startswith(WORK + "/")]
    for path in paths:
        if path not in inside:
            _bind(path, folder + path)
    _directory(folder + WORK)
    kernel.make_read_only(folder)
    owner = f"uid={NOBODY},gid={NOBODY}" if os.getuid() == 0 and _is_real_root() else f"uid={os.getuid()}"
    flags = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("tmpfs", folder + WORK, "tmpfs", flags, f"size={disk},nr_inodes=1024,mode=0700,{owner}")
    # A virtual environment below /tmp itself: the folder that can be written would hide it.
    for path in inside:
        _bind(path, folder + path)
        kernel.make_read_only(folder + path)
    kernel.pivot_root(folder)


def become_nobody() -> None:
    """Give up every right, and start counting processes from one.

    A second user namespace is what makes the limit on processes exact: it counts this sandbox's alone, for root
    and for users whose other processes are many.
    """
    if os.getuid() == 0 and _is_real_root():
        change_to_nobody()
    kernel.unshare(kernel.CLONE_NEWUSER)
    kernel.drop_capabilities()


def change_to_nobody() -> None:
    """Become the user `nobody`, as root."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


_REAL_ROOT: list[bool] = []


def _is_real_root() -> bool:
    """Return whether this process is root outside of user namespaces too; asked first while `/proc` is there."""
    if not _REAL_ROOT:
        mapped = Path("/proc/self/uid_map").read_text(encoding="ascii").split()
        _REAL_ROOT.append(mapped == ["0", "0", str(2**32 - 1)])
    return _REAL_ROOT[0]


def _without_nested(paths: list[str]) -> list[str]:
    """Return the paths that exist and lie below no other of them."""
    existing = sorted({p.rstrip("/") for p in paths if p.rstrip("/") and os.path.lexists(p)})
    return [p for p in existing if not any(p.startswith(parent + "/") for parent in existing)]


def _bind(source: str, target: str) -> None:
    if Path(source).is_symlink():  # /lib -> usr/lib on merged systems
        _directory(str(Path(target).parent))
        Path(target).symlink_to(Path(source).readlink())
        return
    if Path(source).is_dir():
        _directory(target)
    else:
        _directory(str(Path(target).parent))
        Path(target).touch()
    kernel.mount(source, target, "", kernel.MS_BIND | kernel.MS_REC)


def _directory(path: str) -> None:
    Path(path).mkdir(parents=True, exist_ok=True, mode=0o755)
