"""Patterns as in `.gitignore`, matched in a time that no pattern makes long.

A cloned repository brings patterns of its own. One regular expression of `*a*a*a*b` tries billions of ways to match a
name, and holds the GIL meanwhile. Here each part between slashes is matched by itself, where no star gives back what it
has taken (`fnmatch`), and `**` is matched part by part.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

MAX_RULES = 2000
"""Number of patterns that are read of one list."""
LONGEST_RULE = 1000
"""Characters of the longest pattern that is read."""
_SPECIAL = frozenset("*?[")
_ANY_FOLDERS = "**"


@dataclass(frozen=True, slots=True)
class IgnoreRule:
    """One pattern."""

    parts: tuple[str, ...]
    """The texts between the slashes, with `**` for any number of folders."""
    excludes: bool = True
    """Whether it excludes what it matches, or takes it back (`!`)."""
    folders_only: bool = False

    def matches(self, names: Sequence[str], *, is_folder: bool) -> bool:
        """Return whether the pattern names a file or folder, given by its path's parts."""
        return (is_folder or not self.folders_only) and _match_parts(self.parts, names)


@dataclass(frozen=True, slots=True)
class IgnoreRules:
    """The patterns of one list; the last one that matches decides."""

    rules: tuple[IgnoreRule, ...] = ()

    @classmethod
    def read(cls, lines: Iterable[str]) -> IgnoreRules:
        """Return the patterns in some lines; empty lines, comments and what can't be understood are left out."""
        rules = []
        for line in lines:
            rule = _rule(line) if len(line) <= LONGEST_RULE else None
            if rule is not None:
                rules.append(rule)
            if len(rules) == MAX_RULES:
                break
        return cls(tuple(reversed(rules)))

    def verdict(self, names: Sequence[str], *, is_folder: bool) -> bool | None:
        """Return whether a file or folder is excluded; None if no pattern says so or takes it back."""
        for rule in self.rules:
            if rule.matches(names, is_folder=is_folder):
                return rule.excludes
        return None


def _rule(line: str) -> IgnoreRule | None:
    r"""Return the pattern in a line: `/doc/*.txt` gives `doc`, `*.txt`, and `build/` gives `**`, `build`."""
    text = _without_trailing_spaces(line)
    if not text or text.startswith("#"):
        return None
    excludes = not text.startswith("!")
    text = text if excludes else text[1:]
    folders_only = text.endswith("/")
    text = text.removesuffix("/")
    parts = [part for part in text.split("/") if part]
    if not parts:
        return None
    if "/" not in text:
        parts.insert(0, _ANY_FOLDERS)
    if parts[-1] == _ANY_FOLDERS:
        parts.append("*")
    return IgnoreRule(tuple(parts), excludes, folders_only)


def _without_trailing_spaces(line: str) -> str:
    text = line.rstrip("\r\n")
    stripped = text.rstrip(" ")
    backslashes = len(stripped) - len(stripped.rstrip("\\"))
    return stripped + " " if backslashes % 2 and stripped != text else stripped


def _match_parts(parts: Sequence[str], names: Sequence[str]) -> bool:
    """Return whether parts match names; on a mismatch, only the last `**` takes one more name."""
    at_part = at_name = 0
    after_any, taken = -1, 0
    while at_name < len(names):
        if at_part < len(parts) and parts[at_part] == _ANY_FOLDERS:
            at_part += 1
            after_any, taken = at_part, at_name
        elif at_part < len(parts) and _match_name(parts[at_part], names[at_name]):
            at_part += 1
            at_name += 1
        elif after_any >= 0:
            taken += 1
            at_part, at_name = after_any, taken
        else:
            return False
    return at_part == len(parts)


def _match_name(part: str, name: str) -> bool:
    if _SPECIAL.isdisjoint(part) and "\\" not in part:
        return part == name
    return _compiled(part).match(name) is not None


@lru_cache(maxsize=4096)
def _compiled(part: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(_as_fnmatch(part)))


def _as_fnmatch(part: str) -> str:
    r"""Return a part as `fnmatch` writes it: `[^a]\*` is `[!a][*]`."""
    written, index = [], 0
    while index < len(part):
        character = part[index]
        if character == "\\" and index + 1 < len(part):
            index += 1
            following = part[index]
            written.append(f"[{following}]" if following in _SPECIAL else following)
        elif character == "[" and part[index + 1 : index + 2] == "^" and "]" in part[index + 2 :]:
            written.append("[!")
            index += 1
        else:
            written.append(character)
        index += 1
    return "".join(written)
