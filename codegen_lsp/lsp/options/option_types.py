"""Types of options: how each is written in JSON, checked and read, and whether a workspace may choose it.

An annotation such as `Server` is the type of the value for Python, and says how the value is written in JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from codegen_lsp.wire.config import (
    MAX_BYTES,
    EngineConfig,
    expanded,
    parse_bytes,
    parse_cache_size,
    parse_max_memory,
)
from codegen_lsp.wire.errors import ConfigError
from codegen_lsp.wire.schema import expectation
from codegen_lsp.wire.transport.http import bearer_header, server_addresses

NonNegative = Annotated[int, Meta(ge=0, le=MAX_BYTES)]


@dataclass(frozen=True)
class Written:
    """How an option is written in JSON."""

    form: Any
    """Type of the JSON value, checked by msgspec."""
    read: Callable[[Any], Any]
    """Returns the option's value, or raises `ConfigError` with what it must be."""
    expected: str
    """What the value must be, for a message."""
    default: Any = None
    """The default as documentation shows it; None shows the value itself."""


@dataclass(frozen=True)
class Restricted:
    """Marks an option that a workspace may not choose freely."""

    stricter: Callable[[Any, Any], Any]
    """Returns what applies, given the user's value and a workspace's."""


def never(user: Any, _workspace: Any) -> Any:
    """Return the user's value: a workspace may never choose this option."""
    return user


@dataclass(frozen=True)
class Option:
    """One option: how its JSON is checked, read and documented."""

    name: str
    default: Any
    form: Any
    """Type of the JSON value."""
    written: Written | None
    """None if JSON and value are the same."""
    stricter: Callable[[Any, Any], Any] | None
    """What applies, given the user's value and a workspace's; None if a workspace may choose freely."""

    @classmethod
    def of(cls, name: str, hint: Any, default: Any) -> Option:
        """Return the option of a field with this annotation."""
        notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        written = next((note for note in notes if isinstance(note, Written)), None)
        restricted = next((note for note in notes if isinstance(note, Restricted)), None)
        stricter = restricted.stricter if restricted else None
        return cls(name, default, written.form if written else hint, written, stricter)

    @property
    def json_name(self) -> str:
        """The name in JSON: `max_file_size` is `maxFileSize`."""
        first, *others = self.name.split("_")
        return first + "".join(word.capitalize() for word in others)

    @property
    def shown_default(self) -> Any:
        """The default as documentation shows it."""
        shown = self.written.default if self.written else None
        return self.default if shown is None else shown

    def read(self, value: object) -> Any:
        """Return the option's value.

        Raises:
            ConfigError: the JSON value is wrong; the message continues the option's name.
        """
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # JavaScript has one type of numbers.
        try:
            checked = msgspec.convert(value, self.form)
        except (msgspec.ValidationError, RecursionError) as error:
            expected = self.written.expected if self.written else expectation(self.form)
            raise ConfigError(f" must be {expected}") from error
        if self.written is None:
            return checked
        try:
            return self.written.read(checked)
        except ConfigError as error:
            raise ConfigError(f": {error}") from error


USER_ONLY = Restricted(never)


MAX_NAME = 4096
"""Maximum number of characters of a name or a path; longer ones fit no system call."""


def _read_name(text: str) -> str:
    """Return a name or a path that a command line can carry.

    Raises:
        ConfigError: it can't.
    """
    name = text.strip()
    if "\0" in name or not _is_utf8(name):
        raise ConfigError("holds a character that no name or path can have")
    if name.startswith("-"):
        raise ConfigError("starts with '-'")
    if len(name) > MAX_NAME:
        raise ConfigError(f"is longer than {MAX_NAME:,} characters")
    expanded(name)
    return name


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_model(text: str) -> str:
    name = _read_name(text)
    if not name:
        raise ConfigError("must not be empty; nano is the bundled model")
    return name


def _read_server(text: str) -> str:
    return ", ".join(server_addresses(text)) if text.strip() else ""


def _read_token(text: str) -> str:
    token = text.strip()
    bearer_header(token)
    return token


def _read_device_map(text: str) -> str:
    name = _read_name(text)
    EngineConfig(device_map=name)
    return name


def _read_max_memory(limits: str | dict[str, str | int]) -> dict[str, int]:
    if isinstance(limits, dict):
        limits = ",".join(f"{device}={size}" for device, size in limits.items())
    return parse_max_memory(limits)


def _read_languages(languages: dict[str, bool]) -> dict[str, bool]:
    return {"*": True} | languages


NameText = Annotated[str, Written(str, _read_name, "a string")]
ModelText = Annotated[
    str, Written(str, _read_model, "the name of a model or a folder; nano is the bundled one")
]
ServerText = Annotated[str, Written(str, _read_server, "an address such as http://localhost:8000, or empty")]
TokenText = Annotated[str, Written(str, _read_token, "a string of visible ASCII characters")]
DeviceMapText = Annotated[str, Written(str, _read_device_map, "a string")]
MaxMemoryText = Annotated[
    Mapping[str, int],
    Written(str | dict[str, str | NonNegative], _read_max_memory, "written as 0=20GiB,cpu=16GiB", ""),
]
Languages = Annotated[
    Mapping[str, bool],
    Written(
        dict[str, bool],
        _read_languages,
        'an object of language ids with true or false, such as {"*": true, "markdown": false}',
    ),
]


def bytes_written_as(default: str) -> Written:
    """Return how an option of bytes is written; `default` is its default as documentation shows it."""
    return Written(str | NonNegative, parse_bytes, "a size such as 512MiB, or a number of bytes", default)


CACHE_SIZE = Written(
    str | NonNegative, parse_cache_size, "auto, a size such as 512MiB, or a number of bytes", "auto"
)

MAX_PATTERNS, LONGEST_PATTERN = 500, 300
OtherFilesChoice = Literal["auto", "always", "never"]


def _read_patterns(patterns: list[str]) -> tuple[str, ...]:
    """Return patterns that the matcher takes within a reasonable time.

    Raises:
        ConfigError: there are too many, or one is too long.
    """
    if len(patterns) > MAX_PATTERNS or any(len(pattern) > LONGEST_PATTERN for pattern in patterns):
        raise ConfigError(f"takes at most {MAX_PATTERNS} patterns of {LONGEST_PATTERN} characters")
    return tuple(pattern for pattern in patterns if pattern.strip() and "\n" not in pattern)


Patterns = Annotated[tuple[str, ...], Written(list[str], _read_patterns, "a list of patterns", [])]


def _stricter_patterns(user: tuple[str, ...], workspace: tuple[str, ...]) -> tuple[str, ...]:
    """Return the user's patterns and a workspace's, of which none takes another one back."""
    return tuple(dict.fromkeys((*user, *(p for p in workspace if not p.startswith("!")))))


def _stricter_choice(user: OtherFilesChoice, workspace: OtherFilesChoice) -> OtherFilesChoice:
    """Return the choice that shows less to the model."""
    return max(user, workspace, key=("always", "auto", "never").index)


def _stricter_languages(user: Mapping[str, bool], workspace: Mapping[str, bool]) -> dict[str, bool]:
    """Return the languages that both serve: {"*": True, "c": False} and {"*": False, "c": True} serve none."""
    languages = [*user, *(language for language in workspace if language not in user)]
    return {
        language: user.get(language, user["*"]) and workspace.get(language, workspace["*"])
        for language in languages
    }


EXCLUDES_PATTERNS = Restricted(_stricter_patterns)
EXCLUDES_CHOICE = Restricted(_stricter_choice)
EXCLUDES_IF_FALSE = Restricted(lambda user, workspace: user and workspace)
EXCLUDES_ABOVE = Restricted(min)
EXCLUDES_LANGUAGES = Restricted(_stricter_languages)
