"""Formats that a file describes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from codegen_lsp.wire.errors import ConfigError
from codegen_lsp.wire.fill.description import described, named_format

FORMAT = {
    "family": "Ours",
    "psm": "<pre>{prefix}<suf>{suffix}<mid>",
    "spm": "<suf>{suffix}<pre>{prefix}<mid>",
    "stop": ["<end>", "\n###"],
    "file": "<file>{path}\n{text}\n",
    "current": "<file>{path}\n",
}


def test_a_family_goes_by_its_name() -> None:
    assert named_format("qwen2.5-coder").family == "Qwen2.5-Coder"


def test_a_file_describes_a_format(tmp_path: Path) -> None:
    path = tmp_path / "ours.json"
    path.write_text(json.dumps(FORMAT))
    ours = named_format(str(path))
    assert ours.family == "Ours"
    assert ours.orders == ("spm", "psm")
    assert ours.tokens == ("<pre>", "<suf>", "<mid>", "<file>")
    assert ours.stops == ("<end>", "\n###")
    assert ours.template("psm") == "{files}{current}<pre>{prefix}<suf>{suffix}<mid>"


def test_tokens_without_brackets_are_listed() -> None:
    ours = described({"psm": "PRE{prefix}SUF{suffix}MID", "tokens": ["PRE", "SUF", "MID"]})
    assert ours.tokens == ("PRE", "SUF", "MID")
    assert len(ours.parts(ours.psm)) == 5


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ([], "Expected `object`"),
        ({}, "expected a template under 'psm' or 'spm'"),
        ({"psm": 3}, "Expected `str`, got `int` - at `$.psm`"),
        ({"psm": "<a>{prefix}"}, "expected {suffix} once in 'psm'"),
        ({"spm": "<a>{prefix}{prefix}<b>{suffix}"}, "expected {prefix} once in 'spm'"),
        ({"psm": "{prefix}{suffix}"}, "expected control tokens in the templates"),
        ({"psm": "<a>{prefix}<b>{suffix}", "file": "<f>"}, "expected {text} in 'file'"),
        ({"psm": "<a>{prefix}<b>{suffix}", "steps": 1}, "unknown field `steps`"),
    ],
)
def test_a_wrong_description_is_named(tmp_path: Path, body: Any, problem: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(body))
    with pytest.raises(ConfigError) as caught:
        named_format(str(path))
    assert problem in str(caught.value)
    assert str(path) in str(caught.value)


def test_neither_a_family_nor_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is neither a family"):
        named_format("qwen9")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        named_format(str(tmp_path / "x.json"))


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (os.mkfifo, "not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_bytes(b" " * (2**20 + 1)), "at most 1048576 bytes"),
        (lambda path: path.write_text('{"psm": ' + "[" * 500_000), "not JSON"),
        (lambda path: path.write_bytes(b'{"psm": "\xff"}'), "not JSON"),
    ],
    ids=["pipe", "device", "folder", "long", "deep", "bytes"],
)
def test_a_hostile_file_is_one_sentence(tmp_path: Path, make: Any, problem: str) -> None:
    path = tmp_path / "hostile.json"
    make(path)
    with pytest.raises(ConfigError, match=problem):
        named_format(str(path))


def test_a_name_that_no_file_can_have_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="neither a family"):
        named_format("a\0b.json")
