"""Emacs with the real server, the real engine and nano: what is on the screen and in the file.

No test depends on what nano writes: each reads the suggestion from the screen, and compares the file with it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from support.engines import engines_in

if os.environ.get("CODEGEN_LSP_EDITORS") != "1":
    pytest.skip("drives a real Emacs; set CODEGEN_LSP_EDITORS=1 to run it", allow_module_level=True)

from e2e.editors import emacs_session as keys
from e2e.editors.emacs_session import EGLOT, HERE, ROOT, EmacsSession, environment, session
from e2e.editors.install_emacs import Emacs
from e2e.editors.screen import picture

pytestmark = [pytest.mark.e2e, pytest.mark.editor, pytest.mark.slow]

Open = Callable[..., EmacsSession]

REAL = (ROOT / "codegen_lsp" / "wire" / "answers.py").read_text(encoding="utf-8")
FUNCTION = '\n\ndef area(width: int, height: int) -> int:\n    """Return the area of a rectangle."""\n    '
SHAPES = """\
class Rectangle:
    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height

    def perimeter(self) -> int:
        return 2 * (self.width + self.height)

    def area(self) -> int:
        """
PICTURE = ROOT / "editors" / "pictures" / "emacs.png"


@pytest.fixture
def opened(emacs: Emacs, runtime: Path, tmp_path: Path) -> Iterator[Open]:
    """Open a file with a text in an Emacs with the configuration `lisp`, the cursor at the end of the file."""
    with ExitStack() as stack:

        def open_file(text: str | bytes, *, lisp: str = "nil", name: str = "a.py") -> EmacsSession:
            file = tmp_path / name
            file.write_bytes(text.encode() if isinstance(text, str) else text)
            return stack.enter_context(session(emacs, file, environment(runtime, lisp)))

        yield open_file


both = pytest.mark.parametrize("lisp", ["nil", EGLOT], ids=["standalone", "eglot"])


# The screen and the file -----------------------------------------------------------------------------------


@both
def test_a_suggestion_shrinks_while_it_is_typed_and_never_flickers(opened: Open, lisp: str) -> None:
    editor = opened(REAL + FUNCTION, lisp=lisp)
    editor.suggest("re", lambda ghost: re.match(r"[\w .,=+*/-]{3}.", ghost))
    editor.settled()
    ghost, row, cursor = editor.ghost().split("\n")[0], editor.row(), editor.terminal.frames[-1].cursor
    through = re.match(r"[\w .,=+*/-]{3,12}", ghost[:-1])
    assert through is not None
    start = len(editor.terminal.frames)
    for typed, character in enumerate(through[0], 1):
        frame = editor.keys(character)
        assert editor.ghost(frame).split("\n")[0] == ghost[typed:]
        assert frame.cursor == (cursor[0], cursor[1] + typed)
    for frame in editor.terminal.frames[start:]:
        assert editor.row(frame) == row
        assert editor.ghost(frame) != ""


@both
def test_accepting_puts_what_was_shown_into_the_file(opened: Open, lisp: str) -> None:
    editor = opened(REAL + FUNCTION, lisp=lisp)
    ghost = editor.suggest("return ")
    editor.keys(keys.ACCEPT)
    # The next suggestion may be shown already; it is not in the file.
    assert editor.save() == (REAL + FUNCTION + editor.typed + ghost).encode()
    editor.keys(keys.DISMISS)
    editor.keys(keys.UNDO)
    assert editor.save() == (REAL + FUNCTION + editor.typed).encode()


def test_a_word_then_the_line(opened: Open) -> None:
    before = FUNCTION + "return width * height\n\n\ndef perimeter(width, height):\n    "
    editor = opened(before)
    ghost = editor.suggest("re", lambda ghost: len(re.findall(r"\w+|[^\w\s]+", ghost.split("\n")[0])) > 2)
    word = re.match(r"\s*(\w+|[^\w\s]+)", ghost)
    assert word is not None
    editor.keys(keys.WORD)
    text = before + editor.typed + word[0]
    assert editor.save().decode() == text
    remainder = editor.ghost()
    assert remainder == ghost[word.end() :]
    editor.keys(keys.LINE)
    assert editor.save().decode() == text + remainder.split("\n")[0]


def test_next_and_previous_candidate(opened: Open) -> None:
    editor = opened(REAL + FUNCTION)
    another = ""

    def has_another(first: str) -> bool:
        """Show the next candidate; return whether it differs from the first."""
        nonlocal another
        editor.keys(keys.NEXT)
        frame = editor.settled()
        another = editor.ghost(frame)
        return another not in ("", first) and bool(re.search(r"suggestion 2 of \d", frame.text))

    first = editor.suggest("x", has_another)
    editor.keys(keys.PREVIOUS)
    editor.terminal.wait("the first again", lambda frame: editor.ghost(frame) == first)
    editor.keys(keys.NEXT)
    editor.terminal.wait("the second again", lambda frame: editor.ghost(frame) == another)
    editor.keys(keys.ACCEPT)
    assert editor.save() == (REAL + FUNCTION + editor.typed + another).encode()


def test_a_dismissed_suggestion_stays_away_until_the_next_key(opened: Open) -> None:
    editor = opened(REAL + FUNCTION)
    editor.suggest("re")
    assert editor.ghost(editor.keys(keys.DISMISS)) == ""
    assert editor.ghost(editor.settled()) == ""
    assert editor.suggest("t") != ""


def test_moving_away_removes_the_suggestion(opened: Open) -> None:
    editor = opened(REAL + FUNCTION)
    editor.suggest("re")
    assert editor.ghost(editor.keys("\x1b<")) == ""
    assert editor.ghost(editor.keys(keys.END_OF_FILE)) == ""
    editor.suggest("t")
    assert editor.ghost(editor.keys("\x18" + "2\x18" + "o")) == ""


# The menu, and other servers -------------------------------------------------------------------------------


def test_the_menu_has_the_suggestions(opened: Open) -> None:
    editor = opened(REAL + FUNCTION, lisp=EGLOT)
    ghost = editor.suggest("re").split("\n")[0].strip()
    column = editor.terminal.frames[-1].cursor[1]
    editor.keys(keys.MENU)
    # Emacs inserts what all entries begin with, all of an only entry, and shows a menu only where that is nothing.
    frame = editor.terminal.wait(
        "the menu, or what its entries begin with",
        lambda frame: "ompletions" in frame.text or frame.cursor[1] > column,
    )
    if frame.cursor[1] > column:
        inserted = frame.lines[frame.cursor[0]][column : frame.cursor[1]]
        assert inserted[:8] == ghost[: len(inserted[:8])]
    else:
        assert ghost[:8] in frame.text


def test_together_with_another_server(opened: Open) -> None:
    other = f'("{sys.executable}" "{HERE / "emacs_other_server.py"}")'
    lisp = (
        f"(progn (push '(python-mode . {other}) eglot-server-programs)"
        " (add-hook 'python-mode-hook #'eglot-ensure))"
    )
    editor = opened(REAL + FUNCTION, lisp=lisp)
    editor.terminal.wait_text("[eglot:")
    ghost = editor.suggest("fro")
    typed = editor.typed
    editor.keys(keys.ACCEPT)
    editor.keys("\r")
    editor.settled()
    editor.keys(keys.DISMISS)
    editor.keys("from_the" + keys.MENU)
    editor.terminal.wait_text("from_the_other_server")
    assert editor.save().startswith((REAL + FUNCTION + typed + ghost).encode())


# Status, pages, restarts -----------------------------------------------------------------------------------


def test_pausing_and_resuming(opened: Open) -> None:
    editor = opened(REAL + FUNCTION)
    editor.suggest("re")
    editor.command("codegen-lsp-pause")
    editor.terminal.wait_text("CG:paused")
    editor.keys("t")
    assert editor.ghost(editor.settled(1)) == ""
    editor.command("codegen-lsp-pause")
    editor.terminal.wait_text("CG:nano")
    assert editor.suggest("u") != ""


def test_the_last_request_is_a_page(opened: Open) -> None:
    editor = opened(REAL + FUNCTION)
    ghost = editor.suggest("return ")
    editor.lisp("(setq split-width-threshold 100)")
    editor.command("codegen-lsp-show-last-request")
    frame = editor.terminal.wait_text("Candidates")
    for part in ("inlineCompletion", "a.py", "nano", "shown"):
        assert part in frame.text
    assert ghost.split("\n")[0].strip()[:20] in frame.text
    editor.keys(keys.END_OF_FILE)
    assert re.search(r"Timings.*total +[\d.]+", editor.terminal.wait_text("Timings").text, re.DOTALL)


def test_surprise_is_coloured_and_its_lines_are_listed(opened: Open) -> None:
    editor = opened("import os\n" + FUNCTION + "return qqzz[::-7] @ 'ÿ😀' ** width\n")
    count = (
        "(length (seq-filter (lambda (o) (overlay-get o 'codegen-lsp-surprise)) (overlays-in 1 (point-max))))"
    )
    editor.command("codegen-lsp-surprise")
    editor.terminal.wait_text("Bits per token", 90)
    frame = editor.lisp(f'(message "coloured: %s" (> {count} 1))')
    assert "coloured: t" in editor.terminal.wait_text("coloured:").text
    assert re.search(r"\d+\.\d +\d+ +\S", frame.text[frame.text.index("Bits per token") :])
    editor.keys(" x")
    editor.terminal.wait("gone with a change", lambda frame: "Bits per token" not in frame.text)
    editor.lisp(f'(message "left: %s" {count})')
    editor.terminal.wait_text("left: 0")


def test_a_killed_engine_comes_back(opened: Open, runtime: Path) -> None:
    editor = opened(REAL + FUNCTION)
    editor.suggest("re")
    engines = engines_in(runtime)
    assert engines
    for engine in engines:
        os.kill(engine.pid, signal.SIGKILL)
    end = time.monotonic() + 90
    editor.keys(keys.DISMISS)
    # The first request may get an empty answer, but one of the next keys has to bring a suggestion.
    for character in "turn width * height + width * height + width * height":
        editor.terminal.send(character)
        if editor.ghost(editor.settled(1)):
            break
        assert time.monotonic() < end
    assert editor.ghost() != ""
    assert {engine.pid for engine in engines_in(runtime)}.isdisjoint({engine.pid for engine in engines})


def test_a_killed_language_server_comes_back(opened: Open) -> None:
    editor = opened(REAL + FUNCTION)
    editor.suggest("re")
    servers = [
        child
        for child in psutil.Process(editor.terminal.pid).children()
        if "codegen_lsp" in child.cmdline() and "serve" not in child.cmdline()
    ]
    assert len(servers) == 1
    servers[0].kill()
    editor.terminal.wait_text("CG:off")
    assert editor.ghost() == ""
    editor.terminal.wait_text("CG:nano")
    assert editor.suggest("t") != ""


# Brackets, tabs, line ends, emoji, edits above -------------------------------------------------------------


@pytest.mark.parametrize("opening", ["x = max(", 'x = self.names["', "x = [", "raise ValueError('"])
def test_electric_pairs_are_not_doubled(opened: Open, opening: str) -> None:
    editor = opened(REAL + FUNCTION, lisp="(electric-pair-mode 1)")
    editor.suggest(opening)
    frame = editor.settled()
    seen = editor.row(frame)
    if opening[-1] in "\"'":  # Within a string the model may write brackets as it likes.
        assert seen.count(opening[-1]) % 2 == 0
    else:
        for pair in ("()", "[]"):
            assert seen.count(pair[0]) >= seen.count(pair[1])
    editor.keys(keys.ACCEPT)
    editor.keys(keys.DISMISS)
    last = editor.save().decode().removeprefix(REAL + FUNCTION)
    assert last.split("\n")[0] == seen.strip()


def test_tabs(opened: Open) -> None:
    text = "def area(width, height):\n\treturn width * height\n\n\ndef volume(width, height, depth):\n\tif depth:\n\t\t"
    editor = opened(text)
    ghost = editor.suggest("return ")
    editor.keys(keys.ACCEPT)
    saved = editor.save().decode()
    assert saved.startswith(text + editor.typed + ghost.split("\n")[0])
    assert not re.search(r"^ +", saved, re.MULTILINE)


def test_carriage_returns(opened: Open) -> None:
    text = (REAL + FUNCTION).replace("\n", "\r\n").encode()
    editor = opened(text)
    ghost = editor.suggest("return ")
    editor.keys(keys.ACCEPT)
    assert editor.save() == text + (editor.typed + ghost).replace("\n", "\r\n").encode()


def test_an_emoji_before_the_cursor(opened: Open) -> None:
    text = REAL + '\n\nnames = ["😀 é"]\nmore = ["😀🎉 e\u0301", len('
    editor = opened(text)
    ghost = editor.suggest("na")
    editor.keys(keys.ACCEPT)
    assert editor.save() == (text + editor.typed + ghost).encode()


def test_an_edit_above_moves_the_suggestion(opened: Open) -> None:
    editor = opened(REAL + FUNCTION + "\n\nx = 1\n")
    editor.keys("\x10" * 3 + keys.END_OF_LINE)
    editor.suggest("re")
    row = editor.row(editor.settled())
    editor.lisp(r'(save-excursion (goto-char (point-min)) (insert "import os\n\n"))')
    frame = editor.settled()
    assert editor.ghost(frame) != ""
    assert editor.row(frame).startswith("    re")
    ghost = editor.ghost(frame)
    assert row.startswith("    re")
    editor.keys(keys.ACCEPT)
    assert (
        editor.save() == ("import os\n\n" + REAL + FUNCTION + editor.typed + ghost + "\n\nx = 1\n").encode()
    )


# Without a screen ------------------------------------------------------------------------------------------


def test_in_batch(emacs: Emacs, runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(REAL + FUNCTION)
    command = [
        str(emacs.program),
        "-Q",
        "--batch",
        "-l",
        str(HERE / "emacs_init.el"),
        "-l",
        str(HERE / "emacs_batch.el"),
    ]
    done = subprocess.run(
        [*command, "-f", "ert-run-tests-batch-and-exit"],
        cwd=tmp_path,
        env={**os.environ, **environment(runtime), "CODEGEN_EMACS_FILE": str(tmp_path / "a.py")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
    assert re.search(r"Ran (\d+) tests, \1 results as expected", done.stderr), done.stderr[-2000:]


# The picture of the README ---------------------------------------------------------------------------------


@pytest.mark.skipif(
    os.environ.get("CODEGEN_LSP_PICTURES") != "1", reason="set CODEGEN_LSP_PICTURES=1 to paint it"
)
def test_the_picture(emacs: Emacs, runtime: Path, tmp_path: Path) -> None:
    file = tmp_path / "shapes.py"
    file.write_text(SHAPES)
    editor = EmacsSession(emacs, file, environment(runtime), rows=16, columns=78)
    try:
        editor.suggest("return ")
        editor.settled()
        PICTURE.parent.mkdir(exist_ok=True)
        picture(editor.terminal.screen, PICTURE)
    finally:
        editor.close()
    assert PICTURE.stat().st_size < 150_000
