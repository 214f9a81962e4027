"""Read the description of a format that the table lacks: a small JSON file, or a model's own `config.json`.

    {"psm": "<pre>{prefix}<suf>{suffix}<mid>", "stop": "<end>"}

Optional keys: `family`, `spm`, `tokens`, `project`, `file`, `current`, `suffix_ranking`, `left_to_right`. Control
tokens are recognized in the templates by their brackets, and listed under `tokens` otherwise.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
from msgspec import Struct

from codegen_lsp.regular_file import UnsuitableFileError, read_regular_file
from codegen_lsp.wire.errors import ConfigError
from codegen_lsp.wire.fill import families
from codegen_lsp.wire.fill.formats import Control, FillFormat

MAX_FILE = 2**20
"""Maximum size of a description, in bytes."""
_BRACKETED = re.compile(r"\u2581?<[^\s<>{}]+>|\[[A-Z_]+\]")


class _Description(Struct, forbid_unknown_fields=True):
    psm: str = ""
    spm: str = ""
    stop: str | list[str] = ""
    family: str = "described"
    tokens: list[str] = []
    project: str = ""
    file: str = ""
    current: str = ""
    suffix_ranking: bool = False
    left_to_right: bool = False


def named_format(name: str) -> FillFormat:
    """Return the format of a family by its name, or the one that a file describes.

    Raises:
        ConfigError: there is no such family and no such file, or the file is wrong.
    """
    family = families.by_family(name)
    if family is not None:
        return family
    path = Path(name)
    try:
        raw = read_regular_file(path, MAX_FILE)
    except UnsuitableFileError as error:
        raise ConfigError(
            f"{path} is {error}; a description of a format is a file of at most {MAX_FILE} bytes"
        ) from error
    except (OSError, ValueError) as error:
        names = ", ".join(family.family for family in families.FAMILIES)
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{name!r} is neither a family ({names}) nor a file that can be read ({why})"
        ) from error
    try:
        return described(msgspec.json.decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def described(body: object) -> FillFormat:
    """Return the format in a parsed description.

    Raises:
        ConfigError: a key is unknown or has the wrong type, or a template lacks a placeholder.
    """
    try:
        parsed = msgspec.convert(body, _Description)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error)) from error
    if not parsed.psm and not parsed.spm:
        raise ConfigError("expected a template under 'psm' or 'spm'")
    for order, template in (("psm", parsed.psm), ("spm", parsed.spm)):
        missing = [p for p in ("{prefix}", "{suffix}") if template and template.count(p) != 1]
        if missing:
            raise ConfigError(f"expected {missing[0]} once in {order!r}, got {template!r}")
    if parsed.file and "{text}" not in parsed.file:
        raise ConfigError(f"expected {{text}} in 'file', got {parsed.file!r}")
    templates = (parsed.psm, parsed.spm, parsed.project, parsed.file, parsed.current)
    tokens = dict.fromkeys(token for template in templates for token in _BRACKETED.findall(template))
    stops = [parsed.stop] if isinstance(parsed.stop, str) else parsed.stop
    fill_format = FillFormat(
        family=parsed.family,
        tokens=tuple(dict.fromkeys([*parsed.tokens, *tokens])),
        psm=parsed.psm,
        spm=parsed.spm,
        stops=tuple(filter(None, stops)),
        project=parsed.project,
        file=parsed.file,
        current=parsed.current,
        suffix_ranking=parsed.suffix_ranking,
        left_to_right=parsed.left_to_right,
    )
    if not any(isinstance(part, Control) for part in fill_format.parts(parsed.psm + parsed.spm)):
        raise ConfigError("expected control tokens in the templates")
    return fill_format
