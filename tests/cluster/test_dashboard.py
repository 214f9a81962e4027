"""What is said about a cluster, from what Ray's dashboard answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.web import JsonHandler, listening

from codegen_lsp.cli import main
from codegen_lsp.cluster import serve_config
from codegen_lsp.cluster.serve_config import Endpoint, Replicas


def replica(name: str, state: str = "RUNNING") -> dict[str, Any]:
    return {"replica_id": name, "state": state, "node_ip": "127.0.0.1", "pid": 1}


def answer(**deployments: list[dict[str, Any]]) -> dict[str, Any]:
    """The dashboard's answer about an application that runs, as Ray 2.60 sends it."""
    parts = {name: {"replicas": replicas, "message": ""} for name, replicas in deployments.items()}
    application = {"status": "RUNNING", "message": "", "deployments": parts}
    return {"applications": {serve_config.APPLICATION: application}, "http_options": {"port": 8000}}


VLLM = {"LLMServer:nano": [replica("a"), replica("b")], "OpenAiIngress": [replica("c")]}
CASES = [
    pytest.param(answer(**VLLM), "2 replicas are ready", id="vLLM behind Ray's entrance"),
    pytest.param(answer(Engine=[replica("a"), replica("b")]), "2 replicas are ready", id="our engines"),
    pytest.param(
        answer(Engine=[replica("a"), replica("b", "STOPPING")]), "1 replica is ready", id="one that stops"
    ),
    pytest.param(
        answer(Engine=[replica("a"), replica("b", "STARTING")]),
        "1 of 2 replicas are ready",
        id="one that still starts",
    ),
]


class FakeDashboard(JsonHandler):
    body: dict[str, Any]

    def get(self) -> None:
        self.send(self.body)

    def put(self, body: dict[str, Any]) -> None:
        self.send({})


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(["cluster", *arguments])
    assert end.value.code == 0


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration, where Ray counts as installed."""
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "cluster.json"
    folder = tmp_path / "nano-phi"
    path.write_text(
        serve_config.written(serve_config.of_vllm("nano", folder, Replicas(2, 2), Endpoint(), {}))
    )
    return path


@pytest.mark.parametrize(("body", "sentence"), CASES)
def test_up_counts_the_replicas_that_hold_the_model(
    document: Path, body: dict[str, Any], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with listening(type("Handler", (FakeDashboard,), {"body": body})) as url:
        run("up", "--config", str(document), "--address", url)
    assert sentence in capsys.readouterr().out.splitlines()


def test_status_names_the_deployment_of_each_process(capsys: pytest.CaptureFixture[str]) -> None:
    with listening(type("Handler", (FakeDashboard,), {"body": answer(**VLLM)})) as url:
        run("status", "--json", "--address", url)
        replicas = json.loads(capsys.readouterr().out)["replicas"]
        run("status", "--address", url)
    assert [each["deployment"] for each in replicas] == ["LLMServer:nano"] * 2 + ["OpenAiIngress"]
    assert "OpenAiIngress" in capsys.readouterr().out
