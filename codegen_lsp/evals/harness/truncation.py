"""Where a sampled completion ends: CodeGen's rules, and Codex's stop strings.

A base model rarely writes its end-of-text token; it goes on with another function, a test, a comment. The rules are
those of the sample script that came with CodeGen (for MTPB), and of section 2.1 of the Codex paper.
"""

from __future__ import annotations

import re

CODEX_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""Stop strings that end a function body."""

END_OF_TEXT = "<|endoftext|>"

_PRINT = re.compile(r"^print", re.MULTILINE)
_DEF = re.compile(r"^def", re.MULTILINE)
_TERMINALS = re.compile(rf"^#|{re.escape(END_OF_TEXT)}|^'''|^\"\"\"|\n\n\n", re.MULTILINE)
_END_OF_PROGRAM = re.compile(rf"{re.escape(END_OF_TEXT)}|^'''|^\"\"\"|\n\n\n", re.MULTILINE)


def truncate(completion: str) -> str:
    """Cut one turn's code.

    It ends before the second line-start `print`, then before the second line-start `def`, then before the first
    line-start comment or docstring, end-of-text token, or two empty lines.
    """
    for repeated in (_PRINT, _DEF):
        starts = [match.start() for match in repeated.finditer(completion)]
        if len(starts) > 1:
            completion = completion[: starts[1]]
    end = _TERMINALS.search(completion)
    return completion[: end.start()] if end else completion


def is_over(completion: str) -> bool:
    """Return whether more text could not change what `truncate` keeps of a completion."""
    repeats = any(len(pattern.findall(completion)) > 1 for pattern in (_PRINT, _DEF))
    return repeats or _TERMINALS.search(completion) is not None


def truncate_program(completion: str) -> str:
    """Cut a whole program at a line-start docstring, end of text or two empty lines; comments and functions stay."""
    end = _END_OF_PROGRAM.search(completion)
    return completion[: end.start()] if end else completion


def truncate_function(completion: str) -> str:
    """Cut a function's body: `truncate`, and Codex's stops for servers that ignore stop strings."""
    completion = truncate(completion)
    ends = [end for stop in CODEX_STOPS if (end := completion.find(stop)) >= 0]
    return completion[: min(ends)] if ends else completion
