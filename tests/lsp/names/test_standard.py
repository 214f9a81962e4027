"""What is known of modules of Python's standard library."""

from __future__ import annotations

import importlib
import json
import sys

import pytest

from codegen_lsp.lsp.names.standard import IMPORTED, members_of_standard, standard_member, standard_module
from codegen_lsp.lsp.names.values import Value


def test_a_module_has_what_it_defines_and_its_parts() -> None:
    members = members_of_standard("json")
    assert members is not None
    assert not members.is_open
    assert {"loads", "dump", "JSONDecodeError", "decoder"} <= members.values.keys() <= set(dir(json))
    assert "codecs" not in members.values  # which it only imports
    parts = members_of_standard("importlib")
    assert parts is not None
    assert {"metadata", "import_module"} <= parts.values.keys()


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        ("json", "JSONDecoder", Value("class", "standard:json:JSONDecoder")),
        ("json", "loads", Value("function")),
        ("os", "path", Value("module", "standard:os.path")),
        ("os", "sep", Value("instance", "builtins.str")),
        ("sys", "argv", Value("instance", "builtins.list")),
        ("collections", "abc", Value("module", "standard:collections.abc")),
        ("socket", "error", Value("class", "builtins.OSError")),
        ("math", "log", Value("function")),
        ("math", "nothing", None),
        ("torch", "nn", None),
        ("tkinter", "Tk", None),
        ("tests", "x", None),
    ],
)
def test_what_a_module_calls_by_a_name(module: str, name: str, value: Value | None) -> None:
    assert standard_member(module, name) == value


@pytest.mark.parametrize(
    ("key", "is_open"),
    [
        ("pathlib:Path", False),
        ("datetime:datetime", False),
        ("re:Match", False),
        ("argparse:ArgumentParser", True),
        ("http:HTTPStatus", True),
        ("ctypes:Structure", True),
    ],
)
def test_a_class_is_open_if_its_values_can_have_more(key: str, is_open: bool) -> None:
    members = members_of_standard(key)
    assert members is not None
    assert members.is_open is is_open


def test_only_classes_have_members() -> None:
    assert members_of_standard("json:loads") is None
    assert members_of_standard("json:nothing") is None


def test_every_listed_module_is_of_the_standard_library() -> None:
    assert {name.partition(".")[0] for name in IMPORTED} <= sys.stdlib_module_names
    for name in IMPORTED - {"bz2", "lzma", "sqlite3", "ssl", "zoneinfo", "ctypes"}:  # Python can lack these
        assert importlib.import_module(name)


def test_a_module_that_is_not_listed_is_not_imported() -> None:
    sys.modules.pop("antigravity", None)
    assert standard_module("antigravity") is None
    assert "antigravity" not in sys.modules
