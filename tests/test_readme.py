"""The README says what the code does: its tables, its commands, its reasons and its files."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest
from support.readme import PARTS, README, current

from codegen_lsp.lsp.reasons import Reason

TEXT = README.read_text(encoding="utf-8")
ROOT = README.parent


@pytest.mark.parametrize("part", PARTS)
def test_a_generated_part_is_up_to_date(part: str) -> None:
    assert current(part, TEXT) == PARTS[part](), "run: python tests/support/readme.py"


def test_every_reason_is_explained() -> None:
    rows = re.findall(r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \|", TEXT, re.MULTILINE)
    explained = {name for row in rows for name in re.findall("[a-z-]+", row)}
    assert {reason.value for reason in Reason} <= explained


def test_the_first_commands_set_everything_up() -> None:
    commands = [line for line in TEXT.splitlines() if line.startswith("python3 -m venv .venv && ")]
    suggestion, tests = commands
    assert "-c .ci/constraints.txt" in suggestion
    assert suggestion.split(" && ")[-1].startswith(".venv/bin/codegen-lsp complete ")
    assert tests.endswith(".venv/bin/python -m pytest -n 2")


def test_the_place_of_the_first_suggestion_is_there() -> None:
    match = re.search(r"codegen-lsp complete (\S+):(\d+):(\d+)", TEXT)
    assert match is not None
    lines = (ROOT / match[1]).read_text(encoding="utf-8").splitlines()
    assert int(match[3]) <= len(lines[int(match[2]) - 1]) + 1


def test_every_named_file_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def subcommands() -> set[tuple[str, ...]]:
    """The subcommands that the README names in code."""
    found = set()
    for words in re.findall(r"`codegen-lsp ([^`]+)`", TEXT) + re.findall(
        r"^codegen-lsp (.+)$", TEXT, re.MULTILINE
    ):
        parts = []
        for word in shlex.split(words):
            if not re.fullmatch("[a-z]+", word) or len(parts) == 2:
                break
            parts.append(word)
        if parts:
            found.add(tuple(parts[: 2 if parts[0] in ("models", "eval") else 1]))
    return found


@pytest.mark.parametrize("command", sorted(subcommands()), ids=" ".join)
def test_every_named_command_is_there(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "codegen_lsp", *command, "--help"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
