"""What files generated code may see where there is no mount namespace: Landlock, Linux 5.13 and later.

Without it, the filter of system calls still keeps the code from writing, but it could read whatever the user can,
the environment of the user's other processes under `/proc` with it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

from codegen_lsp.evals.sandbox.confined import kernel

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_ALL_OF_VERSION_1 = (1 << 13) - 1
_RULE_PATH_BENEATH = 1


class _RulesetAttr(ctypes.Structure):
    _fields_ = [("handled_access_fs", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def allow_reading_only(paths: Iterable[str]) -> None:
    """Deny this process every file but those below `paths`, and those only for reading.

    Needs `forbid_new_privileges` first.

    Raises:
        OSError: this kernel has no Landlock, or it is switched off.
    """
    handled = _RulesetAttr(_ALL_OF_VERSION_1)
    ruleset = kernel.syscall(
        "landlock_create_ruleset",
        kernel.LANDLOCK_CREATE_RULESET,
        ctypes.byref(handled),
        ctypes.sizeof(handled),
        0,
    )
    for path in paths:
        if not Path(path).exists():
            continue
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        access = _READ_FILE | _READ_DIR if Path(path).is_dir() else _READ_FILE
        rule = _PathBeneath(access, parent)
        kernel.syscall(
            "landlock_add_rule",
            kernel.LANDLOCK_ADD_RULE,
            ruleset,
            _RULE_PATH_BENEATH,
            ctypes.byref(rule),
            0,
        )
        os.close(parent)
    kernel.syscall("landlock_restrict_self", kernel.LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
