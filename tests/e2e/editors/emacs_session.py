"""Emacs with the package, the real server and a file, on a terminal screen.

Knows the key bindings, and how to tell ghost text from text. Asserts nothing about what a model writes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from e2e.editors.install_emacs import Emacs
from e2e.editors.screen import ScreenFrame, Terminal

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
GHOST = "8a93b0"
"""The colour of ghost text, as set in `emacs_init.el`."""

ACCEPT, WORD, LINE, NEXT, PREVIOUS, DISMISS = "\t", "\x1bf", "\x05", "\x1bn", "\x1bp", "\x07"
END_OF_FILE, END_OF_LINE, SAVE, MENU, UNDO = "\x1b>", "\x05", "\x18\x13", "\x1b\t", "\x1f"

MORE = "(len(x) + y) * (a - b"
"""What is typed next until there is a suggestion."""

EGLOT = "(progn (codegen-lsp-eglot-setup) (add-hook 'python-mode-hook #'eglot-ensure))"
"""The configuration with which Eglot runs codegen-lsp itself."""


def environment(runtime: Path, lisp: str = "nil") -> dict[str, str]:
    """Return the environment variables of Emacs, the server and the engine."""
    return {
        "CODEGEN_LSP_RUNTIME_DIR": str(runtime),
        "CODEGEN_EMACS_PACKAGE": str(ROOT / "editors" / "emacs"),
        "CODEGEN_EMACS_COMMAND": f'"{sys.executable}" -m codegen_lsp',
        "CODEGEN_EMACS_LISP": lisp,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
        "HF_HUB_OFFLINE": "1",
        "LC_ALL": "C.UTF-8",
    }


class EmacsSession:
    """One file in one Emacs, the cursor at the end of the file."""

    def __init__(
        self, emacs: Emacs, file: Path, settings: Mapping[str, str], *, rows: int = 30, columns: int = 140
    ) -> None:
        self.file = file
        self.typed = ""
        self.terminal = Terminal(
            [str(emacs.program), "-nw", "-Q", "-l", str(HERE / "emacs_init.el"), str(file)],
            settings,
            rows=rows,
            columns=columns,
        )
        self.terminal.wait_text("CG:nano", 90)
        self.keys(END_OF_FILE)

    def keys(self, keys: str, seconds: float = 0.1) -> ScreenFrame:
        """Press keys, and return the screen a moment later."""
        self.terminal.send(keys)
        return self.terminal.look(seconds)

    def lisp(self, expression: str) -> ScreenFrame:
        """Evaluate an expression with M-:."""
        return self.keys(f"\x1b:{expression}\r")

    def command(self, name: str) -> ScreenFrame:
        """Run a command with M-x."""
        return self.keys(f"\x1bx{name}\r")

    def suggest(self, text: str, wanted: Callable[[str], object] = bool) -> str:
        """Type `text`, and more until there is a suggestion that is `wanted`; return the suggestion.

        The attribute `typed` holds what was typed.
        """
        self.typed = ""
        for keys, seconds in [(text, 10.0), *((character, 4.0) for character in MORE)]:
            self.terminal.send(keys)
            self.typed += keys
            self.keys("", 0.2)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                if self.ghost(self.terminal.look()):
                    ghost = self.ghost(self.settled(0.2))
                    if ghost and wanted(ghost):
                        return ghost
                    break
        raise AssertionError(f"no suggestion as wanted after {self.typed!r}\n{self.terminal.look().text}")

    def settled(self, seconds: float = 0.6) -> ScreenFrame:
        """Wait until there is no more output, and return the screen."""
        count = -1
        while count != (count := len(self.terminal.frames)):
            frame = self.terminal.look(seconds)
        return frame

    def ghost(self, frame: ScreenFrame | None = None) -> str:
        """Return the ghost text on the screen from the cursor on, line by line, or ""."""
        frame = frame or self.terminal.frames[-1]
        rows = frame.rows_in(GHOST)
        numbers = [number for number, row in enumerate(rows) if row]
        return "\n".join(rows[min(numbers[0], frame.cursor[0]) : numbers[-1] + 1]) if numbers else ""

    def row(self, frame: ScreenFrame | None = None) -> str:
        """Return the cursor's line of the screen, with its ghost text."""
        frame = frame or self.terminal.frames[-1]
        return frame.lines[frame.cursor[0]].rstrip()

    def save(self) -> bytes:
        """Save the file and return its content."""
        self.keys(SAVE)
        self.terminal.wait("the file is saved", lambda frame: f"---  F1  {self.file.name}" in frame.text)
        return self.file.read_bytes()

    def close(self) -> None:
        """Close the terminal."""
        self.terminal.close()


@contextmanager
def session(emacs: Emacs, file: Path, settings: Mapping[str, str]) -> Iterator[EmacsSession]:
    """Open a session, and close it when the test ends."""
    editor = EmacsSession(emacs, file, settings)
    try:
        yield editor
    finally:
        editor.close()
