"""Who holds a token: the file of a team's users, read again when it changes.

A line is a token, or the SHA-256 of one with what applies to its user:

    sha256:9f86d0…0a08 name=ann expires=2027-01-31 rate=240 concurrent=4

A token must be random: a hash of a word can be found by trying words. A user whose line is removed is refused from the
next second on.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from codegen_lsp.regular_file import UnsuitableFileError, read_regular_file
from codegen_lsp.wire.errors import ConfigError

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Minimum time between two looks whether the file has changed."""
MAX_FILE = 4 * 2**20
"""Maximum size of the file, in bytes."""
MAX_NUMBER = 10**6


@dataclass(frozen=True, slots=True)
class User:
    """The holder of one token."""

    digest: bytes
    """SHA-256 of the token."""
    name: str = ""
    expires: datetime | None = None
    rate: int = 0
    """Maximum number of requests per minute; 0 means no limit."""
    concurrent: int = 0
    """Maximum number of requests at the same time; 0 means no limit."""

    @classmethod
    def of(cls, token: str) -> User:
        """Return the user of a token about whom nothing else is known."""
        digest = _digest(token)
        return cls(digest, digest.hex()[:8])

    @property
    def is_expired(self) -> bool:
        """Whether the token counts no more."""
        return self.expires is not None and datetime.now(UTC) >= self.expires


class Users:
    """The users of one engine: those of its flags, and those of its file."""

    def __init__(self, tokens: Sequence[str], path: Path | None) -> None:
        """Read the file.

        Raises:
            ConfigError: the file can't be used.
        """
        self._fixed = tuple(User.of(token) for token in tokens)
        self._path = path
        self._listed = read_users(path) if path is not None else ()
        self._seen = _fingerprint(path)
        self._looked = time.monotonic()

    def __bool__(self) -> bool:
        """Return whether a token is required at all."""
        return bool(self._fixed) or self._path is not None

    def find(self, token: str) -> User | None:
        """Return the user of a token; the time that takes doesn't depend on which one it is."""
        self._read_again()
        digest = _digest(token)
        matches = [user for user in (*self._fixed, *self._listed) if hmac.compare_digest(user.digest, digest)]
        return matches[0] if matches else None

    def _read_again(self) -> None:
        now = time.monotonic()
        if self._path is None or now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        fingerprint = _fingerprint(self._path)
        if fingerprint == self._seen:
            return
        self._seen = fingerprint
        try:
            self._listed = read_users(self._path)
            log.info("%d users may use the engine now", len(self._listed))
        except ConfigError as error:
            log.error("the users stay as they were: %s", error)


def read_users(path: Path) -> tuple[User, ...]:
    """Return the users in a file; empty lines and those that start with # don't count.

    Raises:
        ConfigError: the file can't be read, other users can read it, a line is wrong, or it holds no token.
    """
    try:
        content = read_regular_file(path, MAX_FILE)
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"other users can read the tokens in {path}; run: chmod 600 {path}")
        lines = [line.strip() for line in content.decode("utf-8").splitlines()]
    except (UnsuitableFileError, IsADirectoryError) as error:
        raise ConfigError(f"{path} is not a file of tokens") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the tokens in {path} can't be read: {error}") from error
    users = tuple(
        _user(line, f"line {number} of {path}")
        for number, line in enumerate(lines, 1)
        if line and not line.startswith("#")
    )
    if not users:
        raise ConfigError(f"{path} holds no token; write one per line")
    return users


def _user(line: str, place: str) -> User:
    first, *others = line.split()
    if not first.startswith("sha256:"):
        if others:
            raise ConfigError(f"{place}: expected one token, or sha256:… with name=…, expires=…")
        return User.of(first)
    if not re.fullmatch(r"sha256:[0-9a-fA-F]{64}", first):
        raise ConfigError(f"{place}: expected sha256: and 64 hexadecimal digits")
    digest = bytes.fromhex(first.removeprefix("sha256:"))
    fields = dict(word.partition("=")[::2] for word in others)
    unknown = fields.keys() - {"name", "expires", "rate", "concurrent"}
    if unknown or len(fields) != len(others):
        raise ConfigError(f"{place}: expected name=, expires=, rate= and concurrent=, once each")
    return User(
        digest,
        fields.get("name") or digest.hex()[:8],
        _expiry(fields.get("expires", ""), place),
        _number(fields.get("rate", "0"), place),
        _number(fields.get("concurrent", "0"), place),
    )


def _expiry(text: str, place: str) -> datetime | None:
    """Return the end of a day (in UTC)."""
    try:
        day = date.fromisoformat(text) if text else None
        if day is None:
            return None
        return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise ConfigError(f"{place}: expected expires=YYYY-MM-DD, got {text[:20]!r}") from None


def _number(text: str, place: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", text) or int(text) > MAX_NUMBER:
        raise ConfigError(f"{place}: expected a number up to {MAX_NUMBER:,}, got {text[:20]!r}")
    return int(text)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _fingerprint(path: Path | None) -> tuple[int, ...]:
    """Return what changes when a file is written anew; empty if it is not there."""
    if path is None:
        return ()
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return ()
    return (status.st_mtime_ns, status.st_size, status.st_ino)
