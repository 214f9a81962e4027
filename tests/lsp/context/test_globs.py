"""Patterns as in `.gitignore`: what they mean, and that none of them takes long."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.editor import StartEditor

from codegen_lsp.lsp.context.exclusion import DEEPEST
from codegen_lsp.lsp.context.files import WorkspaceFiles
from codegen_lsp.lsp.context.globs import LONGEST_RULE, MAX_RULES, IgnoreRules

SECONDS = 5.0
"""Generous: as regular expressions, these patterns take longer than anyone lives."""

BOMBS = [
    ("*a" * 400 + "b", "a" * 250),
    ("**/a/" * 190 + "b", "a/" * 60 + "c"),
    ("a**" * 300 + "b", "a" * 4000),
    ("*" * 999 + "b", "a" * 4000),
    ("**/*a*a*a*a*ab/" * 60 + "x", "/".join(["a" * 200] * 60)),
    ("[a" * 400, "[a" * 399),
    ("*?" * 490 + "b", "a" * 4000),
    ("*[!b]" * 190 + "b", "a" * 4000),
]


@pytest.mark.parametrize(("pattern", "path"), BOMBS)
def test_no_pattern_takes_long(pattern: str, path: str) -> None:
    started = time.thread_time()
    assert IgnoreRules.read([pattern]).verdict(path.split("/"), is_folder=False) is None
    assert time.thread_time() - started < SECONDS


async def test_a_bomb_in_a_repository_s_patterns_leaves_the_server_answering(editor: StartEditor) -> None:
    ed = await editor()
    (ed.folder / ".gitignore").write_text("*a" * 30 + "b\n" + "**/a*a*/" * 20 + "x\n")
    document = ed.open("def add(a, b):\n    return ", "a" * 60 + ".py")
    assert await ed.inline(document, 1, 11)


@pytest.mark.parametrize(
    ("pattern", "path", "verdict"),
    [
        ("*.log", "a/b.log", True),
        ("!*.log", "a/b.log", False),
        ("/b.log", "a/b.log", None),
        ("a/*.log", "a/b.log", True),
        ("a/*.log", "x/a/b.log", None),
        ("**/b.log", "a/c/b.log", True),
        ("a/**/b.log", "a/b.log", True),
        ("a/**", "a/c/b.log", True),
        ("a/**", "a", None),
        ("build/", "build", None),
        ("b?.lo[gh]", "bc.log", True),
        ("[!b].log", "b.log", None),
        ("[^b].log", "a.log", True),
        (r"\#a", "#a", True),
        (r"\!a", "!a", True),
        (r"a\*", "ab", None),
        (r"a\*", "a*", True),
        ("a  ", "a", True),
        (r"a\ ", "a ", True),
        ("# a", "# a", None),
        ("!", "!", None),
        ("//", "a", None),
        ("[a", "[a", True),
    ],
)
def test_what_patterns_mean(pattern: str, path: str, verdict: bool | None) -> None:
    assert IgnoreRules.read([pattern]).verdict(path.split("/"), is_folder=False) is verdict


def test_lists_and_patterns_and_folders_have_an_end(tmp_path: Path) -> None:
    rules = IgnoreRules.read(["x" * (LONGEST_RULE + 1), *(f"{n}" for n in range(2 * MAX_RULES))])
    assert len(rules.rules) == MAX_RULES
    files = WorkspaceFiles([str(tmp_path)])
    assert not files.excludes(str(tmp_path / "a.py"))
    assert files.excludes(str(tmp_path.joinpath(*["d"] * DEEPEST, "a.py")))
    assert files.excludes(str(tmp_path / ("d" * 5000)))
