"""A program in a real terminal: keys in, frames of its screen out, also as a picture.

Knows pseudo-terminals (pexpect), escape sequences (pyte) and pictures (Pillow). Knows no editor and no server.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import pexpect
import pyte
from PIL import Image, ImageDraw, ImageFont

BACKGROUND, FOREGROUND = "1e2229", "d7dae0"
"""Colours of a picture for cells in the terminal's default colours."""

PALETTE = {
    "black": "2b2f37",
    "red": "e06c75",
    "green": "98c379",
    "brown": "d8b26e",
    "blue": "61afef",
    "magenta": "c678dd",
    "cyan": "56b6c2",
    "white": "d7dae0",
}
"""The eight colours that pyte names."""


@dataclass(frozen=True)
class ScreenFrame:
    """The content of the screen at one moment."""

    lines: tuple[str, ...]
    colours: tuple[tuple[str, ...], ...]
    """The foreground colour of each cell, in pyte's notation."""
    cursor: tuple[int, int]
    """Row and column, from 0."""

    @property
    def text(self) -> str:
        """The lines without trailing blanks."""
        return "\n".join(line.rstrip() for line in self.lines)

    def rows_in(self, colour: str) -> list[str]:
        """Return the text of each row in one colour."""
        return [
            "".join(c for c, fg in zip(line, row, strict=True) if fg == colour)
            for line, row in zip(self.lines, self.colours, strict=True)
        ]

    def coloured(self, colour: str) -> str:
        """Return the text in one colour, without the rows that have none."""
        return "\n".join(filter(None, self.rows_in(colour)))


class Terminal:
    """A program in a terminal with 24-bit colours."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], *, rows: int = 30, columns: int = 100
    ) -> None:
        self.frames: list[ScreenFrame] = []
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._process = pexpect.spawn(
            command[0],
            list(command[1:]),
            env={**os.environ, **environment, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
            dimensions=(rows, columns),
            timeout=30,
        )
        self._process.delaybeforesend = None
        # Answer the program's queries (cursor position, terminal type) like a terminal.
        self.screen.write_process_input = self._process.send

    def send(self, keys: str) -> None:
        """Press keys."""
        self._process.send(keys)

    def look(self, seconds: float = 0.05) -> ScreenFrame:
        """Return the screen after `seconds`; add a frame to `frames` for each piece of output until then."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                self._stream.feed(self._process.read_nonblocking(65536, timeout=left))
            except pexpect.TIMEOUT:
                break
            except pexpect.EOF:
                raise AssertionError(f"the program ended; its screen was\n{self._frame().text}") from None
            self.frames.append(self._frame())
        return self._frame()

    def wait(self, what: str, shown: Callable[[ScreenFrame], bool], seconds: float = 30) -> ScreenFrame:
        """Return the first screen for which `shown` is true; fail with `what` after `seconds`."""
        end = time.monotonic() + seconds
        while not shown(frame := self.look()):
            assert time.monotonic() < end, f"not within {seconds} s: {what}\n{frame.text}"
        return frame

    def wait_text(self, text: str, seconds: float = 30) -> ScreenFrame:
        """Return the first screen that contains `text`."""
        return self.wait(repr(text), lambda frame: text in frame.text, seconds)

    def close(self) -> None:
        """Close the terminal as if its window was closed; this ends the program."""
        self._process.close(force=True)

    @property
    def pid(self) -> int:
        """The id of the program's process."""
        return int(self._process.pid)

    def _frame(self) -> ScreenFrame:
        rows = [
            [self.screen.buffer[y][x] for x in range(self.screen.columns)] for y in range(self.screen.lines)
        ]
        # The second cell of a wide character is empty; a blank keeps the columns aligned.
        return ScreenFrame(
            tuple("".join(cell.data[:1] or " " for cell in row) for row in rows),
            tuple(tuple(cell.fg for cell in row) for row in rows),
            (self.screen.cursor.y, self.screen.cursor.x),
        )


def picture(screen: pyte.Screen, path: Path, *, rows: int | None = None, size: int = 15) -> None:
    """Write the first `rows` of a screen, with the cursor, to a PNG file."""
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    plain = ImageFont.truetype(fonts / "DejaVuSansMono.ttf", size)
    styles = {(True, False): "Bold", (False, True): "Oblique", (True, True): "BoldOblique"}
    faces = {k: ImageFont.truetype(fonts / f"DejaVuSansMono-{v}.ttf", size) for k, v in styles.items()}
    width, height, margin = round(plain.getlength("M")), round(size * 1.35), size
    shown = rows or screen.lines
    image = Image.new(
        "RGB", (screen.columns * width + 2 * margin, shown * height + 2 * margin), f"#{BACKGROUND}"
    )
    draw = ImageDraw.Draw(image)
    for y in range(shown):
        for x in range(screen.columns):
            cell = screen.buffer[y][x]
            fg, bg = _colour(cell.fg, FOREGROUND), _colour(cell.bg, BACKGROUND)
            if cell.reverse != ((y, x) == (screen.cursor.y, screen.cursor.x)):
                fg, bg = bg, fg
            left, top = margin + x * width, margin + y * height
            if bg != BACKGROUND:
                draw.rectangle((left, top, left + width - 1, top + height - 1), fill=f"#{bg}")
            if cell.data.strip():
                face = faces.get((cell.bold, cell.italics), plain)
                draw.text((left, top + (height - size) // 2 - 1), cell.data, font=face, fill=f"#{fg}")
    # A palette of few colours reduces the size of the file to a quarter.
    image.quantize(64).save(path, optimize=True)


def _colour(name: str, default: str) -> str:
    if name == "default":
        return default
    return PALETTE.get(name.removeprefix("bright"), name)
