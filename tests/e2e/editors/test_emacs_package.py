"""The Emacs package in a real Emacs: it compiles, and passes the linters and its own tests.

The tests in `editors/emacs/test` have a fake server; `test_emacs.py` has the real one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

if os.environ.get("CODEGEN_LSP_EDITORS") != "1":
    pytest.skip("drives a real Emacs; set CODEGEN_LSP_EDITORS=1 to run it", allow_module_level=True)

from e2e.editors.emacs_session import GHOST, HERE, environment
from e2e.editors.install_emacs import Emacs
from e2e.editors.screen import Terminal

pytestmark = [pytest.mark.editor]

PACKAGE = Path(__file__).parents[3] / "editors" / "emacs"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package: compiling writes files."""
    return Path(shutil.copytree(PACKAGE, tmp_path / "package"))


def batch(emacs: Emacs, folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit code and the output of Emacs without a screen."""
    load = [word for path in (folder, folder / "test", *emacs.lisp) for word in ("-L", str(path))]
    command = [str(emacs.program), "-Q", "--batch", *load, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def libraries(folder: Path) -> list[str]:
    """The files that users load."""
    names = sorted(path.name for path in folder.glob("*.el"))
    assert "codegen-lsp.el" in names
    return names


def own_tests(folder: Path) -> list[str]:
    """The files of the package's own tests, which are not on the user's `load-path`."""
    names = sorted(f"test/{path.name}" for path in (folder / "test").glob("*-tests.el"))
    assert len(names) > 5
    return names


def sources(folder: Path) -> list[str]:
    return [*libraries(folder), "test/codegen-lsp-test-helper.el", *own_tests(folder)]


def test_byte_compiles_without_warnings(emacs: Emacs, package: Path) -> None:
    code, output = batch(emacs, package, "-f", "batch-byte-compile", *sources(package))
    assert (code, output) == (0, "")
    assert len(list(package.glob("**/*.elc"))) == len(sources(package))


def test_loads_without_its_tests(emacs: Emacs) -> None:
    load = "(progn (require (quote codegen-lsp)) (princ (featurep (quote codegen-lsp-test-helper))))"
    command = [str(emacs.program), "-Q", "--batch", "-L", str(PACKAGE), "--eval", load]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "nil"), done.stderr


def test_a_warning_would_be_seen(emacs: Emacs, package: Path) -> None:
    (package / "bad.el").write_text(
        ";;; bad.el --- Bad  -*- lexical-binding: t; -*-\n(defun bad () (no-such-function-here))\n"
    )
    _, output = batch(emacs, package, "-f", "batch-byte-compile", "bad.el")
    assert "no-such-function-here" in output
    assert checkdoc(emacs, package, "bad.el") != ""


def checkdoc(emacs: Emacs, folder: Path, name: str) -> str:
    code, output = batch(emacs, folder, "--eval", f'(progn (require \'checkdoc) (checkdoc-file "{name}"))')
    assert code == 0
    return output


def test_passes_checkdoc(emacs: Emacs, package: Path) -> None:
    for name in sources(package):
        assert checkdoc(emacs, package, name) == ""


def test_passes_package_lint(emacs: Emacs, package: Path) -> None:
    if not emacs.lisp:
        pytest.skip("package-lint can't be installed here: no Debian package elpa-package-lint")
    main = '(setq package-lint-main-file "codegen-lsp.el")'
    lint = ["-l", "package-lint", "--eval", main, "-f", "package-lint-batch-and-exit"]
    code, output = batch(emacs, package, *lint, *libraries(package))
    assert (code, output) == (0, "")


@pytest.mark.parametrize("compiled", [False, True])
def test_its_own_tests_pass(emacs: Emacs, package: Path, compiled: bool) -> None:
    if compiled:
        batch(emacs, package, "-f", "batch-byte-compile", *sources(package))
    load = [word for name in own_tests(package) for word in ("-l", name)]
    code, output = batch(emacs, package, *load, "-f", "ert-run-tests-batch-and-exit")
    ran = re.search(r"Ran (\d+) tests, (\d+) results as expected, 0 unexpected", output)
    assert code == 0, output[-8000:]
    assert ran is not None
    assert int(ran[1]) == int(ran[2]) > 40


SHOWN = [
    pytest.param("x = |\n", "1 + 2", "", ["x = 1 + 2"], (0, 4), id="at the end of a line"),
    pytest.param("f(|  # why\n", "a)", "", ["f(a)  # why"], (0, 2), id="in a line"),
    pytest.param("f(|)\n", "a, b):\n    pass", ")", ["f(a, b):", "    pass"], (0, 2), id="around a bracket"),
    pytest.param("x = |old\n", "new", "old", ["x = new"], (0, 4), id="in place of text"),
    pytest.param(
        "def f():|\ny = 2\n", "\n    pass", "", ["def f():", "    pass", "y = 2"], (0, 8), id="below"
    ),
    pytest.param("if x:\n\t|\n", "y = 1\n\tz\t= 2", "", ["if x:", " " * 8 + "y = 1"], (1, 8), id="tabs"),
    pytest.param("s = '😀' + |", "'é'", "", ["s = '😀 ' + 'é'"], (0, 11), id="after an emoji, at the end"),
]


@pytest.mark.parametrize(("text", "suggestion", "suffix", "rows", "cursor"), SHOWN)
def test_a_ghost_looks_like_the_text_it_would_become(
    emacs: Emacs,
    tmp_path: Path,
    text: str,
    suggestion: str,
    suffix: str,
    rows: list[str],
    cursor: tuple[int, int],
) -> None:
    before, after = text.split("|")
    (tmp_path / "a.py").write_text(before + after)
    quoted = [json.dumps(part, ensure_ascii=False) for part in (suggestion, suffix)]
    lisp = f"""(add-hook 'emacs-startup-hook
      (lambda () (goto-char {len(before) + 1}) (setq codegen-lsp-mode t)
        (codegen-lsp--show (list (cons {quoted[0]} (cons {quoted[1]} nil))) t)) 90)"""
    terminal = Terminal(
        [str(emacs.program), "-nw", "-Q", "-l", str(HERE / "emacs_init.el"), str(tmp_path / "a.py")],
        environment(tmp_path, f"(progn (setq prog-mode-hook nil) {lisp})"),
        rows=12,
        columns=60,
    )
    try:
        frame = terminal.wait("the ghost", lambda frame: frame.coloured(GHOST) != "")
        assert [line.rstrip() for line in frame.lines[: len(rows)]] == rows
        assert frame.cursor == cursor
    finally:
        terminal.close()
    assert (tmp_path / "a.py").read_text() == before + after
