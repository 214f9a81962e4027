"""What the editors repeat of the Python code is up to date: settings, models, languages."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from codegen_lsp.engine.checkpoints.locate import NANO, short_names
from codegen_lsp.lsp.code.syntax import _GRAMMARS as GRAMMARS

EDITORS = Path(__file__).parents[3] / "editors"
DIALECTS = {"javascriptreact"}
"""Languages that an editor's plugin covers with the mode or file type of another one, or not at all."""


def read(path: str) -> str:
    return (EDITORS / path).read_text(encoding="utf-8")


def names(part: str, text: str) -> list[str]:
    """The strings in double or single quotes between `part` and the end of its table or list."""
    block = re.search(rf"{re.escape(part)}(.*?)(?:\n\}}|\)\n| \}},?\n)", text, re.DOTALL)
    assert block is not None
    return re.findall(r"""["']([\w+.-]+)["']""", block[1])


def test_the_generated_files_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, EDITORS / "generate.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_every_editor_offers_every_model() -> None:
    models = {NANO, *short_names()}
    listed = [model["name"] for model in json.loads(read("vscode/src/models.json"))]
    assert set(listed) == models
    assert names("return {", read("nvim/lua/codegen_lsp/models.lua")) == listed
    assert names("codegen-lsp-models\n", read("emacs/codegen-lsp-models.el")) == listed


def test_the_plugins_start_for_the_languages_that_the_server_parses() -> None:
    languages = GRAMMARS.keys() - DIALECTS
    assert set(names("filetypes = {", read("nvim/lua/codegen_lsp/config.lua"))) == languages
    modes = re.findall(r':language-id "(\w+)"', read("emacs/codegen-lsp-documents.el"))
    assert set(modes) == languages
