"""A terminal's screen as a picture.

Knows pyte's cells and Pillow. The font is the DejaVu Sans Mono that is part of matplotlib.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pyte
from PIL import Image, ImageDraw, ImageFont

FOREGROUND, BACKGROUND = "e0e2ea", "14161b"
SIZE = 15
MARGIN = 10


def draw(screen: pyte.Screen, path: Path) -> None:
    """Write the screen with its cursor to a PNG file."""
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    regular = ImageFont.truetype(str(fonts / "DejaVuSansMono.ttf"), SIZE)
    bold = ImageFont.truetype(str(fonts / "DejaVuSansMono-Bold.ttf"), SIZE)
    width, height = round(regular.getlength("M")), round(SIZE * 1.3)
    size = (screen.columns * width + 2 * MARGIN, screen.lines * height + 2 * MARGIN)
    image = Image.new("RGB", size, f"#{BACKGROUND}")
    pen = ImageDraw.Draw(image)
    for row in range(screen.lines):
        for column in range(screen.columns):
            cell = screen.buffer[row][column]
            foreground, background = _colour(cell.fg, FOREGROUND), _colour(cell.bg, BACKGROUND)
            if cell.reverse:
                foreground, background = background, foreground
            x, y = MARGIN + column * width, MARGIN + row * height
            pen.rectangle((x, y, x + width - 1, y + height - 1), fill=background)
            if cell.data.strip():
                pen.text((x, y), cell.data, font=bold if cell.bold else regular, fill=foreground)
    x, y = MARGIN + screen.cursor.x * width, MARGIN + screen.cursor.y * height
    pen.rectangle((x, y, x + 1, y + height - 1), fill=f"#{FOREGROUND}")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.quantize(64).save(path, optimize=True)


def _colour(name: str, default: str) -> str:
    is_hexadecimal = len(name) == 6 and all(digit in "0123456789abcdef" for digit in name.lower())
    return f"#{name if is_hexadecimal else default}"
