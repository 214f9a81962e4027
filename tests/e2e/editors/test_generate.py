"""What the editors repeat of the Python code is up to date: settings, models, languages, reasons; and their READMEs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from codegen_lsp import __version__
from codegen_lsp.engine.advice.named_models import named_models
from codegen_lsp.engine.checkpoints.checkpoint import NANO
from codegen_lsp.engine.checkpoints.dimensions import short_names
from codegen_lsp.lsp.code.languages import GRAMMARS
from codegen_lsp.lsp.reasons import Reason

EDITORS = Path(__file__).parents[3] / "editors"
DIALECTS = {"javascriptreact", "typescriptreact"}
"""Languages that an editor's plugin covers with the mode or file type of another one, or not at all."""


def read(path: str) -> str:
    return (EDITORS / path).read_text(encoding="utf-8")


def names(part: str, text: str) -> list[str]:
    """The strings in double or single quotes between `part` and the end of its table or list."""
    block = re.search(rf"{re.escape(part)}(.*?)(?:\n\}}|\)\n| \}},?\n)", text, re.DOTALL)
    assert block is not None
    return re.findall(r"""["']([\w+./-]+)["']""", block[1])


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
    models = {model.name for model in named_models()}
    assert {NANO, *short_names()} < models
    listed = [model["name"] for model in json.loads(read("vscode/src/models.json"))]
    assert set(listed) == models
    assert names("return {", read("nvim/lua/codegen_lsp/models.lua")) == listed
    assert names("codegen-lsp-models\n", read("emacs/codegen-lsp-models.el")) == listed


def test_the_plugins_start_for_the_languages_that_the_server_parses() -> None:
    languages = GRAMMARS.keys() - DIALECTS
    assert set(names("filetypes = {", read("nvim/lua/codegen_lsp/config.lua"))) == languages
    modes = re.findall(r':language-id "(\w+)"', read("emacs/codegen-lsp-documents.el"))
    assert set(modes) == languages


def test_vs_code_explains_every_reason() -> None:
    keys = re.findall(r"^  '?([\w-]+)'?: '", read("vscode/src/reasons.ts"), re.MULTILINE)
    assert set(keys) == set(Reason)


README_FILES = ("vscode/README.md", "nvim/README.md", "emacs/README.md")
INSTALL = "python3 -m venv .venv\n{0}.venv/bin/pip install -c .ci/constraints.txt '.[engine]'\n"


@pytest.mark.parametrize("path", [*README_FILES, "nvim/doc/codegen-lsp.txt"])
def test_the_texts_install_from_a_clone(path: str) -> None:
    text = read(path)
    assert any(INSTALL.format(" " * indent) in text for indent in (0, 3, 4))
    assert (EDITORS.parent / ".ci" / "constraints.txt").exists()


@pytest.mark.parametrize("suffix", ["ts", "lua", "el", "txt", "md", "json"])
def test_nothing_is_installed_from_an_index_that_does_not_have_it(suffix: str) -> None:
    paths = [path for path in EDITORS.rglob(f"*.{suffix}") if "node_modules" not in path.parts]
    assert paths
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(pip|pipx|uv tool) install (--upgrade )?codegen-lsp\b", text), path


def test_the_editors_have_the_version_of_the_server() -> None:
    assert f"codegen-lsp-{__version__}.vsix" in read("vscode/README.md")
    assert f"\n;; Version: {__version__}\n" in read("emacs/codegen-lsp.el")
    assert f':name "codegen-lsp.el" :version "{__version__}"' in read("emacs/codegen-lsp-server.el")


def test_the_readmes_describe_every_command() -> None:
    manifest = json.loads(read("vscode/package.json"))
    text = read("vscode/README.md").replace("…", "")
    for command in manifest["contributes"]["commands"]:
        title = command["title"].replace("…", "").removeprefix("Pause or Resume ")
        assert title in text
    subcommands = re.findall(
        r"^subcommands\.(\w+) =", read("nvim/lua/codegen_lsp/commands.lua"), re.MULTILINE
    )
    assert len(subcommands) > 5
    for name in subcommands:
        assert f":CodegenLsp {name}" in read("nvim/README.md")
    commands = re.findall(r'"\w" #\'(codegen-lsp-[\w-]+)', read("emacs/codegen-lsp.el"))
    assert len(commands) > 5
    for name in set(commands) - {"codegen-lsp-cancel-body"}:
        assert f"`{name}`" in read("emacs/README.md")
