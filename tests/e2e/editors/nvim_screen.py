"""A real Neovim in a real terminal: keys in, frames out.

Knows pseudo-terminals (pexpect) and escape sequences (pyte), and where a frame of Neovim ends. Ghost text is
recognized by its colour. Knows no language server.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect
import pyte

GHOST = "8a93b0"
"""The colour of ghost text: 24 bits in hexadecimal."""

_FRAME_END = b"\x1b[?25h"
"""Neovim hides the cursor while it draws, and shows it when the frame is complete."""

_UNKNOWN_TO_PYTE = re.compile(
    rb"""
    \x1bP.*?\x1b\\              # device control strings
    | \x1b\[\??[\d;]*\$p        # mode requests
    | \x1b\[\?u                 # keyboard protocol query
    | \x1b\[[\d;]*:[\d;:]*m     # underline styles such as 4:3
    """,
    re.DOTALL | re.VERBOSE,
)
"""Escape sequences that pyte would print as text."""

_BACKGROUND_QUERY = b"\x1b]11;?"
"""Neovim asks the terminal for its background colour, and waits for the answer."""


@dataclass(frozen=True)
class ScreenFrame:
    """The content of the screen at one moment."""

    lines: tuple[str, ...]
    ghost: tuple[str, ...]
    """The ghost text of each line that has ghost text, from top to bottom."""
    cursor: tuple[int, int]
    """Row and column, 0-based."""

    @property
    def text(self) -> str:
        """The lines, joined."""
        return "\n".join(self.lines)

    @property
    def suggestion(self) -> str:
        """The lines of ghost text, joined."""
        return "\n".join(self.ghost)


def _quoted(text: str) -> str:
    """Return `text` as a Vim string."""
    return "'" + text.replace("'", "''") + "'"


@dataclass
class Editor:
    """A running Neovim; `close` ends it."""

    nvim: Path
    arguments: list[str]
    folder: Path
    """The folder of its configuration, state and socket."""
    environment: Mapping[str, str] = field(default_factory=dict)
    size: tuple[int, int] = (30, 100)
    """Rows and columns."""

    def __post_init__(self) -> None:
        rows, columns = self.size
        self.frames: list[ScreenFrame] = []
        self.screen = pyte.Screen(columns, rows)
        self.screen.write_process_input = self.keys
        self._stream = pyte.ByteStream(self.screen)
        self._incomplete = b""
        self.socket = self.folder / "nvim.sock"
        homes = {
            f"XDG_{name}_HOME": str(self.folder / name.lower())
            for name in ("CONFIG", "DATA", "STATE", "CACHE")
        }
        environment = {
            **os.environ,
            **homes,
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "LC_ALL": "C.UTF-8",
            **self.environment,
        }
        for inherited in ("VIMRUNTIME", "VIM", "NVIM", "MYVIMRC"):
            environment.pop(inherited, None)
        command = ["--listen", str(self.socket), *self.arguments]
        self._terminal = pexpect.spawn(
            str(self.nvim), command, dimensions=self.size, env=environment, cwd=str(self.folder), timeout=10
        )
        # By default pexpect waits before each send, as long as Neovim waits for an answer to a query.
        self._terminal.delaybeforesend = None
        self.until(lambda frame: self.socket.exists() and frame.text.strip() != "", "Neovim started")

    # Keys and frames ---------------------------------------------------------------------------------------

    def keys(self, keys: str | bytes) -> None:
        """Send keys; the caller writes escape sequences for special keys."""
        self._terminal.send(keys)

    def type(self, text: str, *, pause: float = 0.03) -> list[ScreenFrame]:
        """Type `text` character by character, and return the frames that were drawn in the meantime."""
        start = len(self.frames)
        for character in text:
            self.keys(character)
            self.watch(pause)
        return self.frames[start:]

    @property
    def frame(self) -> ScreenFrame:
        """The newest frame."""
        return self.frames[-1] if self.frames else self._look()

    def watch(self, seconds: float) -> ScreenFrame:
        """Read output for a while, and return the newest frame."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._read(left)
        return self.frame

    def until(self, wanted: Callable[[ScreenFrame], bool], what: str, seconds: float = 30) -> ScreenFrame:
        """Read output until a frame is as wanted.

        Raises:
            AssertionError: there was no such frame in time; the message contains the screen.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._read(0.1)
            if wanted(self._look()):
                return self._look()
        raise AssertionError(f"not within {seconds} s: {what}\n{self._look().text}")

    def _read(self, seconds: float) -> None:
        try:
            data = self._incomplete + self._terminal.read_nonblocking(65536, timeout=max(seconds, 0.001))
        except pexpect.TIMEOUT:
            return
        except pexpect.EOF as error:
            raise AssertionError(f"Neovim exited\n{self._look().text}") from error
        if _BACKGROUND_QUERY in data:
            self.keys("\x1b]11;rgb:1414/1616/1b1b\x1b\\")
        *complete, self._incomplete = data.split(_FRAME_END)
        for part in complete:
            self._stream.feed(_UNKNOWN_TO_PYTE.sub(b"", part) + _FRAME_END)
            self.frames.append(self._look())

    def _look(self) -> ScreenFrame:
        buffer = self.screen.buffer
        ghost = []
        for row in range(self.screen.lines):
            cells = (buffer[row][column] for column in range(self.screen.columns))
            text = "".join(cell.data for cell in cells if cell.fg == GHOST)
            if text:
                ghost.append(text)
        cursor = (self.screen.cursor.y, self.screen.cursor.x)
        return ScreenFrame(tuple(line.rstrip() for line in self.screen.display), tuple(ghost), cursor)

    # The editor's own state --------------------------------------------------------------------------------

    def lua(self, expression: str, *arguments: object) -> Any:
        """Return the value of a Lua expression in the editor; `arguments` are its `...`."""
        code = f"vim.json.encode(((function(...) return {expression} end)(unpack(_A))))"
        values = f"json_decode({_quoted(json.dumps(arguments))})"
        return json.loads(self._remote(f"luaeval({_quoted(code)}, {values})"))

    def _remote(self, expression: str) -> str:
        done = subprocess.run(
            [str(self.nvim), "--server", str(self.socket), "--remote-expr", expression],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def close(self) -> None:
        """Quit without saving; Neovim shuts its language servers down."""
        if self._terminal.isalive():
            self.keys("\x1c\x0e:qall!\r")
            with contextlib.suppress(pexpect.TIMEOUT):
                self._terminal.expect(pexpect.EOF, timeout=10)
        self._terminal.close(force=True)
