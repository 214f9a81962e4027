"""Spell out control characters, so that no text of a file, a model or a server commands a terminal or a log's reader.

A terminal obeys escape sequences: OSC 52 sets the clipboard, others hide or overwrite lines.
"""

from __future__ import annotations

import logging
import re

CONTROL = re.compile(
    r"""
    [\x00-\x08\x0b-\x1f]                # C0 without tab and line feed: escape, bell, carriage return ...
    | [\x7f-\x9f]                       # delete and C1, where \x9b and \x9d start a sequence by themselves
    | [\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]    # change the order in which text is shown
    | [\u2028\u2029]                    # line and paragraph separators
    | [\ud800-\udfff]                   # half of a surrogate pair, which no encoding can print
    """,
    re.VERBOSE,
)


def escape(text: object) -> str:
    r"""Return the text with control characters spelled out, as `\x1b`; line feeds and tabs stay.

    >>> escape("a\x1b]52;c;cm0=\x07")
    'a\\x1b]52;c;cm0=\\x07'
    """
    return CONTROL.sub(_spelled, str(text).replace("\r\n", "\n"))


def one_line(text: object) -> str:
    """Return the text as a single escaped line, for a sentence that quotes foreign text."""
    return escape(" ".join(str(text).split()))


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class EscapingFormatter(logging.Formatter):
    """Writes log records whose foreign text can't command a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text, with control characters spelled out."""
        return escape(super().format(record))
