"""Options that commands take as one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.testing import CliRunner

from codegen_lsp.commands.options import with_options


@dataclass(frozen=True)
class Colours:
    """Two options."""

    front: Annotated[str, typer.Option(help="Colour of the text.")] = "black"
    back: Annotated[int, typer.Option("--background", "-b", help="Number of a colour.", min=1)] = 7


def invoke(*arguments: str) -> tuple[str, list[Any]]:
    """Run a command that takes a `Colours`; what it printed, and what it got."""
    calls: list[Any] = []

    @with_options
    def paint(
        file: Annotated[str, typer.Argument()],
        colours: Colours,
        twice: Annotated[bool, typer.Option()] = False,
    ) -> None:
        """Paint a file."""
        calls.append((file, colours, twice))

    app = typer.Typer(add_completion=False)
    app.command()(paint)
    return CliRunner().invoke(app, arguments).output, calls


def test_fields_become_options_and_come_back_as_one_object() -> None:
    assert invoke("a.py")[1] == [("a.py", Colours(), False)]
    assert invoke("-b", "3", "a.py", "--twice", "--front", "red")[1] == [("a.py", Colours("red", 3), True)]


def test_help_and_limits_come_from_the_fields() -> None:
    output, _ = invoke("--help")
    for words in ("Paint a file.", "Colour of the text.", "--background", "--front"):
        assert words in output
    output, calls = invoke("a.py", "-b", "0")
    assert calls == []
    assert "background" in output
