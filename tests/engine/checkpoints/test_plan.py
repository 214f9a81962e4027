from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from support.checkpoints import TinyCodeGen, save
from support.local import load_model
from support.served import environment

from codegen_lsp.engine.checkpoints import files
from codegen_lsp.engine.checkpoints.checkpoint import CheckpointError
from codegen_lsp.engine.checkpoints.dimensions import SIZES, short_names
from codegen_lsp.engine.checkpoints.plan import plan
from codegen_lsp.engine.checkpoints.synthesize import synthesize
from codegen_lsp.wire.config import EngineConfig

PUBLISHED = {
    # parameters in billions, layers, KiB of KV cache a token in 16 bits
    "350M": (0.357, 20, 80),
    "2B": (2.78, 32, 320),
    "6B": (7.06, 33, 528),
    "16B": (16.03, 34, 816),
}


@pytest.mark.parametrize("name", short_names())
def test_the_twelve_shapes_as_published(name: str) -> None:
    parameters, layers, kv = PUBLISHED[name.partition("-")[0]]
    made = plan(EngineConfig(model=name, dtype="bfloat16", device_map="cpu"))
    assert made.parameters / 1e9 == pytest.approx(parameters, rel=0.005)
    assert made.kv_bytes_per_token == kv * 1024
    quantized = plan(EngineConfig(model=name, quantize="int8", device_map="cpu"))
    assert quantized.kv_bytes_per_token == kv * 1024, "kept in 16 bits, in running requests too"
    assert made.parameters == SIZES[name.partition("-")[0]].parameters
    on_a_gpu = plan(EngineConfig(model=name, dtype="bfloat16", device_map="cuda:0"))
    assert on_a_gpu.kv_bytes_per_token == kv * 1024
    assert made.context == 2048
    assert sum(1 for module, _ in made.layers if ".h." in module) == layers
    assert made.weight_bytes == pytest.approx(2 * made.parameters, rel=0.02)


def test_layers_are_shared_out_by_the_memory_that_is_given() -> None:
    whole = plan(EngineConfig(model="2B-mono", dtype="bfloat16", device_map="cpu"))
    half = plan(EngineConfig(model="2B-mono", dtype="bfloat16", max_memory={"cpu": whole.weight_bytes // 2}))
    assert set(half.device_bytes) == {"cpu", "disk"}
    assert half.device_bytes["cpu"] <= whole.weight_bytes // 2
    assert half.weight_bytes == whole.weight_bytes
    assert half.needs_offload
    devices = [device for _, device in half.layers]
    assert devices == sorted(devices), "memory first, disk after"


def test_a_folders_plan_is_what_its_tensors_take(tmp_path: Path) -> None:
    model = TinyCodeGen(n_layer=3).build()
    folder = save(tmp_path / "m", model)
    made = plan(EngineConfig(model=str(folder), dtype="float32", device_map="cpu"))
    tensors = [*model.parameters(), *model.buffers()]
    assert made.weight_bytes == sum(t.numel() * t.element_size() for t in tensors)
    assert made.context == 256


def test_a_plan_of_a_model_that_is_unknown_here(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="models pull"):
        plan(EngineConfig(model="nobody/nothing"))


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("{", "can't be read"),
        ("[]", "must be a JSON object"),
        ("{}", "must be a JSON object"),
        ('{"": "gpu"}', "expected a device"),
        ('{"": true}', "expected a device"),
        ('{"": null}', "expected a device"),
        ('{"transformer": "cpu"}', "doesn't mention 'lm_head"),
        ('{"transformer": "cpu", "lm_head": "cpu", "head": "cpu"}', "'head', which this model doesn't have"),
    ],
)
def test_a_wrong_device_map(tiny_folder: Path, tmp_path: Path, written: str, sentence: str) -> None:
    path = tmp_path / "map.json"
    path.write_text(written)
    with pytest.raises(CheckpointError, match=sentence):
        plan(EngineConfig(model=str(tiny_folder), device_map=str(path)))


def test_a_device_map_that_is_not_there(tiny_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="can't be read"):
        plan(EngineConfig(model=str(tiny_folder), device_map="nowhere.json"))


def test_a_plan_may_name_gpus_of_another_machine_but_a_load_may_not(tiny_folder: Path) -> None:
    made = plan(EngineConfig(model=str(tiny_folder), device_map="cuda:99"))
    assert set(made.device_bytes) == {"cuda:99"}
    with pytest.raises(CheckpointError, match="there is no device"):
        load_model(tiny_folder, device_map="cuda:99")


MEASURE = """
import json, sys, psutil
from codegen_lsp.engine.checkpoints.plan import plan
from codegen_lsp.wire.config import EngineConfig
from codegen_lsp.engine.model.loading import load
from codegen_lsp.engine.checkpoints.locate import of
config = EngineConfig(model=sys.argv[1], quantize="none")
made = plan(config)
before = psutil.Process().memory_info().rss
model = load(config, of(config))
after = psutil.Process().memory_info().rss
print(json.dumps([made.weight_bytes, made.process_bytes, before, after]))
"""


@pytest.mark.slow
def test_the_350m_takes_what_its_plan_says(tmp_path: Path) -> None:
    """Synthesized, loaded in a process of its own, which then answers."""
    folder = synthesize("350M", tmp_path / "350M", torch.bfloat16, 2 * 10**8)
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder)],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    planned, process, before, after = json.loads(result.stdout)
    assert after - before == pytest.approx(planned, rel=0.1)
    assert after == pytest.approx(planned + process, rel=0.1)
    command = [
        sys.executable,
        "-m",
        "codegen_lsp",
        "generate",
        "def f(",
        "--max-tokens",
        "3",
        "--model",
        str(folder),
    ]
    said = subprocess.run(
        command, env=environment(tmp_path), capture_output=True, text=True, timeout=200, check=True
    )
    assert said.stdout.startswith("def f(")
    assert len(said.stdout) > len("def f(\n")


def test_a_synthesized_checkpoint_is_whole_and_sharded(tmp_path: Path) -> None:
    reports: list[tuple[int, int]] = []
    folder = synthesize("350m", tmp_path / "new", torch.float16, 10**8, lambda a, b: reports.append((a, b)))
    files.check(folder)
    shards = files.weight_files(folder)
    assert len(shards) > 5
    assert all(shard.stat().st_size <= 1.06 * 10**8 for shard in shards), "only the embeddings are larger"
    with safe_open(shards[0], framework="pt") as file:
        embeddings = file.get_tensor("transformer.wte.weight")
    assert (tuple(embeddings.shape), embeddings.dtype) == ((51_200, 1024), torch.float16)
    assert float(embeddings.float().std()) == pytest.approx(0.02, rel=0.05)
    assert reports[-1][0] == reports[-1][1] == plan(EngineConfig(str(folder), dtype="float16")).parameters * 2


def test_what_can_not_be_synthesized(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no size '3B'"):
        synthesize("3B", tmp_path / "x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(CheckpointError, match="not empty"):
        synthesize("350M", tmp_path / "full")


def test_a_gpu_holds_16_bits_if_they_fit_and_8_if_only_those_do() -> None:
    whole = plan(EngineConfig(model="2B-mono", dtype="bfloat16", device_map="cuda:0")).weight_bytes
    room = {"large": 2 * whole, "middle": whole * 2 // 3, "small": whole // 3}
    plans = {
        name: plan(
            EngineConfig(model="2B-mono", max_memory={"0": size, "cpu": 2 * whole}, device_map="sequential")
        )
        for name, size in room.items()
    }
    assert [plans[name].weights == "int8" for name in room] == [False, True, False]
    assert "does not fit" in plans["middle"].weights_reason
    assert [set(plans[name].device_bytes) for name in room] == [{"cuda:0"}, {"cuda:0"}, {"cuda:0", "cpu"}]
    assert plans["large"].steps.startswith("CUDA graphs")
    assert "whole on one GPU" in plans["small"].steps


def test_what_was_asked_for_goes_to_a_gpu() -> None:
    for quantize, weights in (("int8", "int8"), ("none", "bfloat16")):
        made = plan(EngineConfig(model="2B-mono", quantize=quantize, dtype="bfloat16", device_map="cuda:3"))
        assert (made.weights, made.weights_reason.split(",")[-1].strip()) == (weights, "as configured")
