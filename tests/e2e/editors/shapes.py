"""What the editors' tests have in common: a file to type in, places in it, and a folder for their one engine.

Knows Python code at whose end a model has something to say. Knows no editor.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.engines import engines_in, stop_engines

OPENING = '''\
"""Shapes in the plane."""

import math


'''

CIRCLE = '''\
class Circle:
    """A circle around a point."""

    def __init__(self, center, radius):
        self.center = center
        self.radius = radius

    def area(self):
        """The area that the circle covers."""
        return math.pi * self.radius ** 2

'''

LINES = (
    ("    def scale(self, factor):\n        ", "self."),
    ("    def contains(self, point):\n        ", "return "),
    ("    def move(self, x, y):\n        ", "self.cen"),
    ("    def grow(self, values):\n        ", "for "),
    ("    def __repr__(self):\n        ", "return "),
    ("    def diameter(self):\n        ", "if "),
    ("class Square:\n    def __init__(self, center, radius):\n        ", "self."),
)
"""What stands at the end of a file, and what is then typed, to be shown the rest of a line."""

SIGNATURES = (
    "__init__(self, center, radius)",
    "scale(self, factor)",
    "get(self, name, default=None)",
    "contains(self, point)",
    "__eq__(self, other)",
    "update(self, values)",
    "move(self, x, y)",
    "read(self, path)",
)
"""Methods to be shown a block in."""


@contextmanager
def engine_folder() -> Iterator[Path]:
    """The folder of an engine's socket, short because a socket's path must be; what runs there ends with it."""
    folder = Path(tempfile.mkdtemp(prefix="cgl"))
    try:
        yield folder
    finally:
        stop_engines(folder)
        assert not engines_in(folder)
        shutil.rmtree(folder, ignore_errors=True)
