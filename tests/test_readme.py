"""The README and the documents say what the code does: their tables, commands, reasons, links and examples."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.readme import DOCS, PARTS, README, ROOT, current

from codegen_lsp.engine.checkpoints.sources.smollm2 import NAME as SMOLLM2
from codegen_lsp.lsp.reasons import Reason

TEXT = README.read_text(encoding="utf-8")
DOCUMENTS = sorted(
    path for folder in (ROOT, DOCS, ROOT / ".github") for path in folder.glob("*.md") if path.is_file()
)
EDITORS = sorted((ROOT / "editors").glob("*/README.md"))
LONGEST = 160
"""Maximum number of lines of the README; what is longer belongs into docs/."""


def commands(document: Path) -> set[tuple[str, ...]]:
    """The subcommands of codegen-lsp that a document names in code."""
    text = document.read_text(encoding="utf-8")
    named = re.findall(r"`codegen-lsp (?!was )([^`]+)`", text)
    named += re.findall(r"^(?:\$ )?codegen-lsp ([^#\n]+)", text, re.MULTILINE)
    return {words for line in named if (words := subcommand(line))}


def subcommand(line: str) -> tuple[str, ...]:
    """The words of a command line before its arguments: `("models", "plan")` for `models plan 2B-mono`."""
    words: list[str] = []
    for word in shlex.split(line):
        if not re.fullmatch("[a-z]+", word) or len(words) == 2:
            break
        words.append(word)
    return tuple(words[: 2 if words[:1] in (["models"], ["eval"]) else 1])


@pytest.mark.parametrize("part", PARTS)
def test_a_generated_part_is_up_to_date(part: str) -> None:
    assert current(part) == PARTS[part](), "run: python tests/support/readme.py"


def test_the_readme_stays_short() -> None:
    assert len(TEXT.splitlines()) <= LONGEST


def test_every_reason_is_explained() -> None:
    text = (DOCS / "reasons.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \|", text, re.MULTILINE)
    explained = {name for row in rows for name in re.findall("[a-z-]+", row)}
    assert {reason.value for reason in Reason} <= explained


def test_the_first_commands_set_everything_up() -> None:
    lines = [line for line in TEXT.splitlines() if line.startswith("python3 -m venv .venv && ")]
    suggestion, tests = lines
    assert "-c .ci/constraints.txt -e '.[engine,gguf]'" in suggestion
    assert suggestion.split(" && ")[-1].startswith(".venv/bin/codegen-lsp complete ")
    assert suggestion.endswith(f" --model {SMOLLM2}")
    assert tests.endswith(".venv/bin/python -m pytest -n 2")


def test_the_places_of_the_first_suggestions_are_there() -> None:
    places = set(re.findall(r"codegen-lsp complete (\S+\.py):(\d+):(\d+)", TEXT))
    assert {path for path, _, _ in places} == {"examples/points.py", "examples/stack.py"}
    for path, line, column in places:
        lines = (ROOT / path).read_text(encoding="utf-8").split("\n")
        assert int(column) <= len(lines[int(line) - 1]) + 1


def test_the_code_of_the_session_is_the_example() -> None:
    example = (ROOT / "examples" / "points.py").read_text(encoding="utf-8")
    head = 'def load_points(path: str) -> list[dict]:\n    """Read the list of points from a JSON file."""\n'
    assert example.endswith(head)
    assert head in TEXT
    stack = (ROOT / "examples" / "stack.py").read_text(encoding="utf-8")
    assert stack.endswith('    def __len__(self) -> int:\n        """Return the number of values."""\n')


@pytest.mark.parametrize("document", [*DOCUMENTS, *EDITORS], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_works(document: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(#[^)]*)?\)", document.read_text(encoding="utf-8")):
        path = document.parent / target if target else document
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor[1:] in {slug(heading) for heading in headings}, target + anchor


def test_every_place_in_the_architecture_is_there() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    places = re.findall(r"`((?:codegen_lsp|tests|editors|docs|examples)/[^` ]*)`", text)
    assert places
    assert [place for place in places if not (ROOT / place).exists()] == []


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", [*DOCUMENTS, *EDITORS], ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_installed_from_an_index_that_does_not_have_it(document: Path) -> None:
    assert not re.search(r"pip install (-\S+ )*'?codegen-lsp\b", document.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "command", sorted({words for path in [*DOCUMENTS, *EDITORS] for words in commands(path)}), ids=" ".join
)
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
