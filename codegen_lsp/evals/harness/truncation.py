"""Where a sampled completion ends: CodeGen's rules, and Codex's stop strings.

A model of this kind rarely writes its end-of-text; it goes on with another function, a test, a comment. Rules of
the sample script that came with CodeGen (its MTPB benchmark), and of section 2.1 of the Codex paper.
"""

from __future__ import annotations

import re

CODEX_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""Where a function body is over."""

END_OF_TEXT = "<|endoftext|>"

_PRINT = re.compile(r"^print", re.MULTILINE)
_DEF = re.compile(r"^def", re.MULTILINE)
_TERMINALS = re.compile(rf"^#|{re.escape(END_OF_TEXT)}|^'''|^\"\"\"|\n\n\n", re.MULTILINE)
_END_OF_PROGRAM = re.compile(rf"{re.escape(END_OF_TEXT)}|^'''|^\"\"\"|\n\n\n", re.MULTILINE)


def truncate(completion: str) -> str:
    """One turn's code: up to the second line-start `print`, of that up to the second line-start `def`, and of that
    up to the first line-start comment or docstring, end of text, or two empty lines."""
    for repeated in (_PRINT, _DEF):
        starts = [match.start() for match in repeated.finditer(completion)]
        if len(starts) > 1:
            completion = completion[: starts[1]]
    end = _TERMINALS.search(completion)
    return completion[: end.start()] if end else completion


def is_over(completion: str) -> bool:
    """Whether more text could not change what `truncate` leaves of a completion."""
    repeats = any(len(pattern.findall(completion)) > 1 for pattern in (_PRINT, _DEF))
    return repeats or _TERMINALS.search(completion) is not None


def truncate_program(completion: str) -> str:
    """A whole program, which may hold several functions and comments: up to a line-start docstring, end of text, or
    two empty lines."""
    end = _END_OF_PROGRAM.search(completion)
    return completion[: end.start()] if end else completion


def truncate_function(completion: str) -> str:
    """A function's body: `truncate`, and Codex's stops for servers that know none."""
    completion = truncate(completion)
    ends = [at for stop in CODEX_STOPS if (at := completion.find(stop)) >= 0]
    return completion[: min(ends)] if ends else completion
