"""The plugin's Lua files are as luacheck and StyLua want them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

if os.environ.get("CODEGEN_LSP_EDITORS") != "1":
    pytest.skip("installs luacheck and StyLua; set CODEGEN_LSP_EDITORS=1 to run it", allow_module_level=True)

from e2e.editors import install_nvim
from e2e.editors.cache import EditorUnavailableError

pytestmark = [pytest.mark.e2e, pytest.mark.editor]

HERE = Path(__file__).parent
PLUGIN = HERE.parents[2] / "editors" / "nvim"


def test_luacheck_reports_nothing() -> None:
    try:
        luacheck = install_nvim.install_luacheck()
    except EditorUnavailableError as error:
        pytest.skip(f"luacheck can't be installed here: {error}")
    done = subprocess.run(
        [*luacheck, "--no-color", "."], cwd=PLUGIN, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_stylua_would_change_nothing() -> None:
    node = shutil.which("node")
    try:
        stylua = install_nvim.install_stylua()
    except EditorUnavailableError as error:
        pytest.skip(f"StyLua can't be installed here: {error}")
    if node is None:
        pytest.skip("StyLua's npm package requires node")
    done = subprocess.run(
        [node, str(HERE / "nvim_stylua.mjs"), str(PLUGIN)],
        env={**os.environ, "NVIM_STYLUA": str(stylua)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
