"""`codegen-lsp generate` and `codegen-lsp models`, as processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.local import load_model, reference
from support.served import environment, serving

from codegen_lsp.engine.checkpoints.checkpoint import NANO_FOLDER
from codegen_lsp.engine.checkpoints.dimensions import short_names
from codegen_lsp.wire.config import EngineConfig, socket_path

pytestmark = pytest.mark.e2e


def run(folder: Path, *arguments: str | bytes, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "codegen_lsp", *arguments]
    return subprocess.run(
        command, env=environment(folder), input=stdin, capture_output=True, timeout=120, check=False
    )


def test_generate_prints_the_text_and_nothing_else(tmp_path: Path) -> None:
    result = run(tmp_path, "generate", "def hello_world():", "--max-tokens", "8", "--dtype", "float32")
    assert result.returncode == 0, result.stderr
    model = load_model(NANO_FOLDER)
    spoken = reference(model, model.vocabulary.encode("def hello_world():"), 8)
    text = b"".join(map(model.vocabulary.output_bytes, spoken))
    assert result.stdout == b"def hello_world():" + text + b"\n"
    assert result.stderr == b""


def test_generate_as_json_from_standard_input(tmp_path: Path) -> None:
    result = run(
        tmp_path, "generate", "-", "--max-tokens", "4", "--n", "2", "--json", stdin="x = 'é\xff".encode()
    )
    body = json.loads(result.stdout)
    assert [c["index"] for c in body["choices"]] == [0, 1]
    assert body["usage"]["completion_tokens"] == 8


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("x " * 3000,), b"'prompt' has"),
        (("x", "--model", "/no/where"), b"there is no folder /no/where"),
        (("x", "--model", "350M-mono"), b"models pull 350M-mono"),
        (("x", "--top-p", "0"), b"'top_p' must be"),
    ],
    ids=["long", "folder", "not-here", "top-p"],
)
def test_generate_fails_in_one_sentence(tmp_path: Path, arguments: tuple[str, ...], sentence: bytes) -> None:
    result = run(tmp_path, "generate", *arguments)
    assert result.returncode == 2
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == b""


def test_generate_prints_what_is_no_utf8(tmp_path: Path) -> None:
    result = run(tmp_path, "generate", b"x = \xff\xfe", "--max-tokens", "2")
    assert result.returncode == 0, result.stderr
    assert result.stdout.decode().startswith("x = \ufffd\ufffd")


def test_generate_asks_an_engine_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEGEN_LSP_RUNTIME_DIR", str(tmp_path))
    path = socket_path(EngineConfig())
    with serving(tmp_path, "--socket", str(path)) as engine:
        result = run(tmp_path, "generate", "def f(", "--max-tokens", "3")
        assert result.stdout.startswith(b"def f(")
        assert engine.metrics()["codegen_generated_tokens_total"] == 3


def test_models_are_listed(tmp_path: Path) -> None:
    entries = {e["name"]: e for e in json.loads(run(tmp_path, "models", "list", "--json").stdout)}
    assert entries["nano"]["local_bytes"] > 10**6
    assert set(short_names()) < set(entries)
    assert entries["16B-mono"] == {
        "name": "16B-mono",
        "source": "Salesforce/codegen-16B-mono",
        "local_bytes": None,
        "fill": "",
    }
    assert b"Salesforce/codegen-350M-nl" in run(tmp_path, "models", "list").stdout


def test_a_plan_is_printed_and_given_as_json(tmp_path: Path) -> None:
    text = run(
        tmp_path, "models", "plan", "6b-multi", "--dtype", "bfloat16", "--device-map", "cpu"
    ).stdout.decode()
    assert "transformer.h.0 ... 32 (33 layers) -> cpu" in text
    assert "KV cache: 528 KiB per token (540672 bytes), 1.03 GiB for 2048 tokens" in text
    assert "parameters in bfloat16" in text
    quantized = run(tmp_path, "models", "plan", "6b-multi", "--quantize", "int4", "--device-map", "cpu")
    assert "parameters in int4 (as configured)" in quantized.stdout.decode()
    result = run(tmp_path, "models", "plan", "nano", "--json")
    body = json.loads(result.stdout)
    assert body["devices"]["cpu"]["bytes"] == body["weight_bytes"]
    assert body["kv_bytes_full_context"] == body["kv_bytes_per_token"] * body["context"]


def test_pull_says_why_it_can_not(tmp_path: Path) -> None:
    result = run(tmp_path, "models", "pull", "350M-mono")
    assert result.returncode == 2
    assert b"HF_HUB_OFFLINE" in result.stderr
    assert run(tmp_path, "models", "pull", "nano").returncode == 0


def test_synthesize_refuses_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run(tmp_path, "models", "synthesize", "350M", "-o", str(tmp_path))
    assert result.returncode == 2
    assert b"not empty" in result.stderr


def test_nano_is_exported_for_other_engines(tmp_path: Path) -> None:
    folder = run(tmp_path, "models", "export", "nano", "--to", "phi", str(tmp_path / "phi"))
    assert folder.returncode == 0, folder.stderr
    assert folder.stdout.decode().strip() == str(tmp_path / "phi")
    file = run(
        tmp_path,
        "models",
        "export",
        "nano",
        "--to",
        "gguf",
        str(tmp_path / "nano.gguf"),
        "--quantize",
        "q8_0",
    )
    assert file.returncode == 0, file.stderr
    assert b"numbers of more than three digits" in file.stderr
    assert (tmp_path / "nano.gguf").read_bytes()[:4] == b"GGUF"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--to", "onnx"), b"--to must be phi or gguf"),
        (("--to", "phi", "--quantize", "f16"), b"--quantize requires --to gguf"),
        (("--to", "gguf", "--quantize", "q5_k"), b"--quantize must be one of f16, q8_0, q4_0"),
        (("--to", "gguf"), b"exists; name a new file"),
        (("--to", "phi"), b"can't be written to"),
    ],
    ids=["kind", "phi", "format", "file", "folder"],
)
def test_export_fails_in_one_sentence(tmp_path: Path, arguments: tuple[str, ...], sentence: bytes) -> None:
    (tmp_path / "file").touch()
    result = run(tmp_path, "models", "export", "nano", str(tmp_path / "file"), *arguments)
    assert result.returncode == 2
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_model_is_recommended_for_this_machine(tmp_path: Path) -> None:
    body = json.loads(run(tmp_path, "models", "recommend", "--json").stdout)
    models = {entry["name"]: entry for entry in body["models"]}
    assert models[body["recommended"]]["fits"]
    assert body["machine"]["bandwidth"] > 1e8
    assert set(models["Qwen/Qwen2.5-Coder-1.5B"]["weight_bytes"]) == {"float32", "bfloat16", "int8", "int4"}
