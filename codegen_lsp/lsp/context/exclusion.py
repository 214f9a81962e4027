"""Which files no prompt may show, and in which files nothing is suggested. Pure: knows patterns, opens nothing.

Patterns are written as in `.gitignore`. The built-in ones cover secrets; the user's are laid over them, and what
neither decides is decided by the `.gitignore` files of the workspace, so that a workspace can't take back a pattern.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from codegen_lsp.lsp.context.globs import IgnoreRules

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

RulesOf = Callable[[tuple[str, ...]], IgnoreRules | None]
"""Returns the patterns of the `.gitignore` in a folder, given by its path's parts below the workspace folder."""

DEEPEST = 64
"""Number of folders below which every file is excluded: patterns are looked for in each of them."""


@lru_cache(maxsize=8)
def _named(patterns: tuple[str, ...]) -> tuple[IgnoreRules, IgnoreRules]:
    return IgnoreRules.read(BUILT_IN), IgnoreRules.read(patterns)


def is_excluded(parts: Sequence[str], patterns: Sequence[str], ignored: RulesOf) -> bool:
    """Return whether a file is excluded, given by its path's parts below its workspace folder.

    The user's `patterns` are asked first, then the built-in ones, then `.gitignore` from the file's folder upward. A
    pattern that starts with `!` takes back what the patterns after it in that order exclude.
    """
    if len(parts) > DEEPEST:
        return True
    built_in, user = _named(tuple(patterns))
    for rules in (user, built_in):
        verdict = _whole(tuple(parts), lambda folder, rules=rules: rules if not folder else None)  # type: ignore[misc]
        if verdict is not None:
            return verdict
    return _whole(tuple(parts), ignored) is True


def _whole(parts: tuple[str, ...], rules_of: RulesOf) -> bool | None:
    """Return the verdict on a file: True as soon as one of its folders, or itself, is ignored."""
    verdict: bool | None = None
    for length in range(1, len(parts) + 1):
        nearest = _single(parts[:length], length < len(parts), rules_of)
        if nearest:
            return True
        # What takes back a folder takes back all in it that nothing else excludes.
        verdict = verdict if nearest is None else nearest
    return verdict


def _single(parts: tuple[str, ...], is_folder: bool, rules_of: RulesOf) -> bool | None:
    """Return what the nearest pattern file says about one folder or file."""
    for depth in range(len(parts) - 1, -1, -1):
        rules = rules_of(parts[:depth])
        if rules is None:
            continue
        verdict = rules.verdict(parts[depth:], is_folder=is_folder)
        if verdict is not None:
            return verdict
    return None
