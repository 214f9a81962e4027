"""Which files no prompt may show, and in which files nothing is suggested. Pure: knows patterns, opens nothing.

Patterns are written as in `.gitignore`. The built-in ones cover secrets; the user's are laid over them, and what
neither decides is decided by the `.gitignore` files of the workspace, so that a workspace can't take back a pattern.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

BUILT_IN = (
    *(".env", ".env.*", ".env-*", "*.env", ".envrc"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.p8", "*.jks", "*.keystore", "*.ppk", "*.kdbx", "*.gpg", "*.asc"),
    *("*.crt", "*.cer", "*.der", "*.csr"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".ssh/", ".gnupg/", ".aws/", ".azure/", ".kube/"),
    *("credentials", "credentials.*", ".git-credentials", ".netrc", "_netrc", ".pgpass", ".my.cnf"),
    *(
        ".npmrc",
        ".yarnrc",
        ".pypirc",
        ".dockercfg",
        ".docker/config.json",
        ".htpasswd",
        "service-account*.json",
    ),
    *("secrets.json", "secrets.toml", "secrets.yml", "secrets.yaml", "secrets.ini", "secrets.txt"),
    *("*.tfstate", "*.tfstate.*", "*.tfvars", ".git/"),
)
"""Patterns of environment files, keys, certificates and credentials; they always apply."""

SpecOf = Callable[[tuple[str, ...]], "GitIgnoreSpec | None"]
"""Returns the patterns of the `.gitignore` in a folder, given by its path's parts below the workspace folder."""


def compile_patterns(patterns: Iterable[str]) -> GitIgnoreSpec:
    """Return the matcher of patterns; those that can't be understood are left out."""
    from pathspec import GitIgnoreSpec

    patterns = tuple(patterns)
    try:
        return GitIgnoreSpec.from_lines(patterns)
    except ValueError:  # one of them is a lone `!`, or `//`
        return GitIgnoreSpec.from_lines([pattern for pattern in patterns if _is_understood(pattern)])


def _is_understood(pattern: str) -> bool:
    from pathspec import GitIgnoreSpec

    try:
        GitIgnoreSpec.from_lines([pattern])
    except ValueError:
        return False
    return True


@lru_cache(maxsize=8)
def _named(patterns: tuple[str, ...]) -> tuple[GitIgnoreSpec, GitIgnoreSpec]:
    return compile_patterns(BUILT_IN), compile_patterns(patterns)


def is_excluded(parts: Sequence[str], patterns: Sequence[str], ignored: SpecOf) -> bool:
    """Return whether a file is excluded, given by its path's parts below its workspace folder.

    The user's `patterns` are asked first, then the built-in ones, then `.gitignore` from the file's folder upward. A
    pattern that starts with `!` takes back what the patterns after it in that order exclude.
    """
    built_in, user = _named(tuple(patterns))
    for spec in (user, built_in):
        verdict = _whole(tuple(parts), lambda folder, spec=spec: spec if not folder else None)  # type: ignore[misc]
        if verdict is not None:
            return verdict
    return _whole(tuple(parts), ignored) is True


def _whole(parts: tuple[str, ...], spec_of: SpecOf) -> bool | None:
    """Return the verdict on a file: True as soon as one of its folders, or itself, is ignored."""
    verdict: bool | None = None
    for length in range(1, len(parts) + 1):
        verdict = _single(parts[:length], length < len(parts), spec_of)
        if verdict:
            return True
    return verdict


def _single(parts: tuple[str, ...], is_folder: bool, spec_of: SpecOf) -> bool | None:
    """Return what the nearest pattern file says about one folder or file."""
    for depth in range(len(parts) - 1, -1, -1):
        spec = spec_of(parts[:depth])
        if spec is None:
            continue
        verdict = spec.check_file("/".join(parts[depth:]) + ("/" if is_folder else "")).include
        if verdict is not None:
            return verdict
    return None
