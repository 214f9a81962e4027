"""Which engine the replicas are: vLLM where it is installed, this project's own otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from codegen_lsp.cluster import serve_config


def config(folder: Path, *arguments: str, vllm: bool) -> subprocess.CompletedProcess[str]:
    """Run `cluster config` with or without a package called vllm."""
    modules = folder / "modules"
    modules.mkdir()
    if vllm:
        (modules / "vllm.py").touch()
    root = Path(__file__).parents[2]
    environment = os.environ | {
        "CODEGEN_LSP_MODELS_DIR": str(folder / "models"),
        "PYTHONPATH": f"{modules}{os.pathsep}{root}",
    }
    command = [sys.executable, "-m", "codegen_lsp", "cluster", "config", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def document(answer: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert answer.returncode == 0, answer.stderr
    data: dict[str, Any] = json.loads(answer.stdout)
    return data


def test_vllm_gets_the_model_as_phi(tmp_path: Path) -> None:
    data = document(config(tmp_path, "--replicas", "2", vllm=True))
    (application,) = data["applications"]
    assert application["import_path"] == serve_config.VLLM
    (model,) = application["args"]["llm_configs"]
    folder = Path(model["model_loading_config"]["model_source"])
    assert folder.parent == tmp_path / "models" / "phi"
    assert json.loads((folder / "config.json").read_text())["model_type"] == "phi"
    assert model["model_loading_config"]["model_id"] == "nano"
    assert model["accelerator_config"] == {"kind": "cpu"}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "nothing unfinished is left"
    assert serve_config.processors(data) > 2
    assert not serve_config.asks_for_tokens(data)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--engine", "codegen"],
        ["--token-file", "tokens"],
        ["--host", "0.0.0.0", "--token-file", "tokens"],
    ],
    ids=" ".join,
)
def test_a_cluster_with_tokens_has_our_own_engine_even_beside_vllm(
    tmp_path: Path, arguments: list[str]
) -> None:
    data = document(config(tmp_path, *arguments, vllm=True))
    assert serve_config.asks_for_tokens(data)


def test_without_vllm_the_replicas_are_our_own_engine(tmp_path: Path) -> None:
    if (answer := config(tmp_path, vllm=False)) and "ray.serve.llm" in answer.stdout:
        pytest.skip("vLLM is installed here")
    assert serve_config.asks_for_tokens(document(answer))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engine", "vllm", "--host", "0.0.0.0", "--token-file", "tokens"], "ask for no token"),
        (["--engine", "llama"], "expected --engine auto, vllm or codegen"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    answer = config(tmp_path, *arguments, vllm=True)
    assert answer.returncode == 2
    assert message in " ".join(answer.stderr.split())


def test_vllm_by_name_needs_vllm(tmp_path: Path) -> None:
    answer = config(tmp_path, "--engine", "vllm", vllm=False)
    if answer.returncode == 0:
        pytest.skip("vLLM is installed here")
    assert "needs vLLM beside Ray" in " ".join(answer.stderr.split())
