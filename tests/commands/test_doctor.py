"""`codegen-lsp doctor`, called in a folder that is not to be trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from codegen_lsp.commands import doctor


def test_an_editor_that_lies_in_the_folder_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("nvim", "emacs", "code"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\ntouch ran\n")
        program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", ".:/usr/bin:/bin")
    findings = list(doctor._editors())
    assert [finding.level for finding in findings] == ["note"] * 3
    assert not (tmp_path / "ran").exists()
    assert not Path("/ran").exists()
