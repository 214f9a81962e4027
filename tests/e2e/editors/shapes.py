"""Texts that the editors' tests type, and a folder for the engine that the tests of one editor share.

The texts are Python code that a model is likely to continue. Knows no editor.
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
"""The end of a file, and the text typed there, to get a suggestion for the rest of a line."""

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
"""Signatures of methods, to get a suggestion for a block."""


@contextmanager
def engine_folder() -> Iterator[Path]:
    """Make a folder for an engine's socket, and stop the engine at the end.

    Its path is short, because the length of a socket's path is limited.
    """
    folder = Path(tempfile.mkdtemp(prefix="cgl"))
    try:
        yield folder
    finally:
        stop_engines(folder)
        assert not engines_in(folder)
        shutil.rmtree(folder, ignore_errors=True)
