"""Each rule that ends a completion, and their order."""

from __future__ import annotations

import pytest

from codegen_lsp.evals.harness.truncation import truncate, truncate_function, truncate_program


@pytest.mark.parametrize(
    ("completion", "kept"),
    [
        ("x = 1\n", "x = 1\n"),
        ("", ""),
        ("print(1)\nprint(2)\n", "print(1)\n"),
        ("    print(1)\n    print(2)\n", "    print(1)\n    print(2)\n"),
        ("printer = 1\nprinter = 2", "printer = 1\n"),
        ("def f():\n    pass\ndef g():\n    pass\n", "def f():\n    pass\n"),
        ("x = 1\n# next step\ny = 2\n", "x = 1\n"),
        ("x = 1  # why\ny = 2\n", "x = 1  # why\ny = 2\n"),
        ("# first\nx = 1", ""),
        ("x = 1<|endoftext|>y = 2", "x = 1"),
        ("x = 1\n'''\nwords\n'''\n", "x = 1\n"),
        ('x = 1\n"""words"""\n', "x = 1\n"),
        ('x = """words"""\ny = 1\n', 'x = """words"""\ny = 1\n'),
        ("x = 1\n\n\ny = 2\n", "x = 1"),
        ("x = 1\n\ny = 2\n", "x = 1\n\ny = 2\n"),
        ("print(1)\n# a\nprint(2)\nx\n", "print(1)\n"),
        ("def f():\n    pass\nprint(1)\ndef g(): pass\nprint(2)\n", "def f():\n    pass\nprint(1)\n"),
        ("\r\nx = 1", "\r\nx = 1"),
    ],
)
def test_turn_ends_where_the_reference_ends_it(completion: str, kept: str) -> None:
    assert truncate(completion) == kept


@pytest.mark.parametrize(
    ("completion", "kept"),
    [
        ("    return 1\n\ndef g():\n", "    return 1\n"),
        ("    return 1\nclass A:\n", "    return 1"),
        ("    return 1\nif True:\n", "    return 1"),
        ("    return 1\nprint(1)\n", "    return 1"),
        (
            "    if x:\n        return 1\n    # done\n    return 2\n",
            "    if x:\n        return 1\n    # done\n    return 2\n",
        ),
    ],
)
def test_function_ends_at_codex_stops(completion: str, kept: str) -> None:
    assert truncate_function(completion) == kept


def test_program_keeps_functions_prints_and_comments() -> None:
    program = "def f():\n    pass\n\n# then\ndef g():\n    pass\nprint(1)\nprint(2)\n"
    assert truncate_program(program + "\n\n\nrubbish") == program.rstrip("\n")
    assert truncate_program(program + '"""end"""') == program
