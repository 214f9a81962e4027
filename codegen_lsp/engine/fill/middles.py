"""Known middles: short code whose gap is settled by what follows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """A text with a gap, and what belongs there."""

    prefix: str
    middle: str
    suffix: str


KNOWN = (
    Known(
        'def area(width, height):\n    """Return the area of a rectangle."""\n    ',
        "result = width * height",
        "\n    return result\n\n\ndef volume(width, height, depth):\n    return area(width, height) * depth\n",
    ),
    Known(
        "def read_config(path):\n    with open(path) as ",
        "handle:",
        "\n        for line in handle:\n            name, value = line.split('=')\n            yield name, value\n",
    ),
    Known(
        "import os\nimport ",
        "json",
        "\n\n\ndef load(path):\n    with open(path) as file:\n        return json.load(file)\n",
    ),
    Known(
        "def count_words(text):\n    ",
        "counts = {}",
        "\n    for word in text.split():\n        counts[word] = counts.get(word, 0) + 1\n    return counts\n",
    ),
    Known(
        "class Stack:\n    def __init__(self):\n        ",
        "self.items = []",
        "\n\n    def push(self, item):\n        self.items.append(item)\n\n    def pop(self):\n"
        "        return self.items.pop()\n",
    ),
    Known(
        "function total(prices, ",
        "tax",
        ") {\n  let sum = 0;\n  for (const price of prices) {\n    sum += price * (1 + tax);\n  }\n  return sum;\n}\n",
    ),
)
"""What the probe asks. Each has an identifier that only the text after the gap names."""
