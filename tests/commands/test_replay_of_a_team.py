"""The typing replay of several people at once: language servers of their own, one server for all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.samples import CIRCLE
from support.served import serving_network

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

FILE = f"""{CIRCLE}
    def scaled(self, factor: float) -> "Circle":
        return Circle(self.radius * factor)
"""


def replay(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "codegen_lsp", "eval", "replay", str(folder / "shapes.py")]
    command += [str(folder / "empty.py"), "--out", str(folder / "out"), "--json", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shapes.py").write_text(FILE)
    (tmp_path / "empty.py").write_text("x = 1\n")  # nothing to type: it is left out
    (tmp_path / "tokens").write_text("ann-token\nbob-token\n")
    (tmp_path / "tokens").chmod(0o600)
    return tmp_path


def test_several_people_type_into_one_server(folder: Path) -> None:
    arguments = ["--threads", "1", "--token-file", str(folder / "tokens")]
    with serving_network(folder, *arguments, token="ann-token") as engine:
        many = ("--clients", "3", "--seconds", "8", "--pace", "2", "--characters", "60")
        server = ("--server", str(engine.client.base_url), "--token-file", str(folder / "tokens"))
        answer = replay(folder, *many, *server)
        assert answer.returncode == 0, answer.stderr
        data: dict[str, Any] = json.loads(answer.stdout)
        again = replay(folder, *many, *server)
    team = data["team"]
    rows = [json.loads(line) for line in (folder / "out" / "requests.jsonl").read_text().splitlines()]
    assert team["clients"] == 3
    assert team["replicas"] == 1
    late = [row for row in rows if row["source"] == "late"]
    assert len(late) == team["late"]
    assert team["requests"] == len(rows) - len(late) > 0
    assert team["processor_seconds"] > 0
    assert {row["client"] for row in rows} <= {0, 1, 2}
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    assert team["answered"] + team["from_memory"] <= len(rows)
    assert team["lost"] == 0
    assert 0 < team["cached_share"] < 1
    page = (folder / "out" / "report.md").read_text(encoding="utf-8")
    assert "3 language servers at once; replicas: 1" in page
    assert "already; use another --out" in again.stderr


def test_several_people_need_a_server(folder: Path) -> None:
    answer = replay(folder, "--clients", "2")
    assert answer.returncode == 2
    assert "--clients needs --server" in answer.stderr
