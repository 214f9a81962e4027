"""What several tests put into an editor or a checkpoint."""

from __future__ import annotations

from typing import Any

CODE = '''import os


def add(a, b):
    """Add two numbers."""
    return a + b


def sub(a, b):
    """Subtract two numbers."""
    return '''
END = (10, 11)
"""The end of the code: line and character."""

PADDED: dict[str, Any] = {
    "strategy": {"Fixed": 2**31},
    "direction": "Left",
    "pad_to_multiple_of": None,
    "pad_id": 0,
    "pad_type_id": 0,
    "pad_token": "x",
}
"""A tokenizer's setting that makes two billion tokens of a line, for which the process would abort."""

CIRCLE = '''"""Shapes."""

import math


class Circle:
    def __init__(self, radius: float) -> None:
        self.radius = radius

    def area(self) -> float:
        return math.pi * self.radius * self.radius
'''
"""The beginning of a file that a replay types."""
