"""The VS Code extension without VS Code: its manifest fits the server, and its own checks pass."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest
from e2e.editors import install_vscode
from e2e.editors.cache import EditorUnavailableError

import codegen_lsp
from codegen_lsp.lsp.options import option_docs, options

MANIFEST = json.loads((install_vscode.EXTENSION / "package.json").read_text(encoding="utf-8"))


def test_every_option_of_the_server_is_a_setting() -> None:
    properties = {
        name: schema
        for section in MANIFEST["contributes"]["configuration"]
        for name, schema in section["properties"].items()
    }
    for option in option_docs.describe():
        setting = properties[f"{options.SECTION}.{option['name']}"]
        assert setting["markdownDescription"] == option["description"]
        assert setting["default"] == option["default"]


def test_the_defaults_of_the_manifest_are_those_of_the_server() -> None:
    """VS Code answers `workspace/configuration` with every default of the manifest."""
    prefix = f"{options.SECTION}."
    sent = {
        name.removeprefix(prefix): schema["default"]
        for section in MANIFEST["contributes"]["configuration"]
        for name, schema in section["properties"].items()
        if name.startswith(prefix)
    }
    assert options.parse(sent) == (options.Options(), ())


def test_an_untrusted_folder_cannot_choose_program_model_or_address() -> None:
    restricted = set(MANIFEST["capabilities"]["untrustedWorkspaces"]["restrictedConfigurations"])
    for name in ("server", "token", "model", "revision", "allowPickle", "deviceMap", "offloadFolder"):
        assert f"codegen.{name}" in restricted
    for name in ("serverPath", "serverArguments", "serverEnvironment"):
        assert f"codegen-lsp.{name}" in restricted


def test_no_workspace_can_choose_a_restricted_setting() -> None:
    editor, server = MANIFEST["contributes"]["configuration"]
    for name in ("serverPath", "serverArguments", "serverEnvironment"):
        assert editor["properties"][f"codegen-lsp.{name}"]["scope"] == "machine"
    scopes = {name: schema["scope"] for name, schema in server["properties"].items()}
    untrusted = set(MANIFEST["capabilities"]["untrustedWorkspaces"]["restrictedConfigurations"])
    for name in options.restricted():
        assert scopes[f"codegen.{name}"] == "machine"
        assert f"codegen.{name}" in untrusted
    for name in options.exclusions():
        assert f"codegen.{name}" in untrusted


def test_it_has_the_version_of_the_server() -> None:
    assert MANIFEST["version"] == codegen_lsp.__version__


def test_its_lock_file_contains_no_addresses() -> None:
    lock = json.loads((install_vscode.EXTENSION / "package-lock.json").read_text(encoding="utf-8"))
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]


@pytest.mark.editor
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    os.environ.get("CODEGEN_LSP_EDITORS") != "1",
    reason="installs npm packages; set CODEGEN_LSP_EDITORS=1 to run it",
)
def test_types_lint_and_unit_tests_pass_and_the_package_is_complete() -> None:
    try:
        vsix = install_vscode.package_extension()
    except EditorUnavailableError as reason:
        pytest.skip(f"the extension's tools can't be installed: {reason}")
    with zipfile.ZipFile(vsix) as package:
        names = {Path(name).as_posix() for name in package.namelist()}
    ours = {name for name in names if name.startswith("extension/")}
    assert ours == {
        "extension/package.json",
        "extension/LICENSE.txt",
        "extension/readme.md",
        "extension/dist/extension.js",
        "extension/dist/NOTICES.txt",
        "extension/media/lastRequest.css",
    }
