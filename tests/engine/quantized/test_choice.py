"""Which number format a model's weights get, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import CodeGenConfig, PretrainedConfig

from codegen_lsp.engine.checkpoints import placement
from codegen_lsp.engine.checkpoints.checkpoint import NANO_FOLDER
from codegen_lsp.engine.checkpoints.dimensions import SIZES
from codegen_lsp.engine.checkpoints.placement import Blueprint, blueprint_of
from codegen_lsp.engine.quantized.choice import processor_choice
from codegen_lsp.wire.config import ConfigError, EngineConfig


def blueprint(config: PretrainedConfig, **options: str) -> Blueprint:
    return blueprint_of(EngineConfig(device_map="cpu", **options), config)


def medium() -> CodeGenConfig:
    return CodeGenConfig(**SIZES["350M"].config())


def test_auto_leaves_what_a_processor_s_cache_holds_as_it_is() -> None:
    nano = placement.model_config(NANO_FOLDER)
    chosen = blueprint(type(nano).from_dict(nano.to_dict() | {"n_layer": 1, "n_embd": 64, "n_head": 4}))
    assert chosen.choice.format is None
    assert "small" in chosen.choice.reason


@pytest.mark.parametrize("of", [medium, lambda: placement.model_config(NANO_FOLDER)], ids=["350M", "nano"])
def test_auto_takes_for_other_models_what_the_processor_measured(of: Callable[[], PretrainedConfig]) -> None:
    config = EngineConfig(device_map="cpu")
    measured = processor_choice(placement.pick_dtype(config))
    assert blueprint_of(config, of()).choice == measured
    assert "processor" in measured.reason


@pytest.mark.parametrize("name", ["int8", "int4"])
def test_a_format_that_is_named_is_taken(name: str) -> None:
    chosen = blueprint(medium(), quantize=name)
    assert chosen.weights == name
    assert chosen.parameters == SIZES["350M"].parameters
    assert chosen.dtype == torch.float32, "what the kernels compute in"
    assert blueprint(medium(), quantize=name, dtype="bfloat16").dtype == torch.bfloat16


def test_none_quantizes_nothing_and_neither_does_a_dtype_that_is_named() -> None:
    for options in ({"quantize": "none"}, {"dtype": "bfloat16"}):
        assert blueprint(medium(), **options).choice.format is None


def test_a_gpu_computes_in_sixteen_bits() -> None:
    config = EngineConfig(max_memory={"0": 2**40})
    chosen = blueprint_of(config, medium())
    assert chosen.choice.format is None
    assert "GPU" in chosen.choice.reason


def test_a_checkpoint_that_is_quantized_already_is_left_to_transformers() -> None:
    config = medium()
    config.quantization_config = {"quant_method": "fp8"}
    chosen = blueprint(config, quantize="int8")
    assert chosen.choice.format is None
    assert "of its own" in chosen.choice.reason


def test_a_wrong_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected quantize to be auto, none, int8, int4, got 'int3'"):
        EngineConfig(quantize="int3")


def test_sizes_in_memory_follow_the_format(tmp_path: Path) -> None:
    from codegen_lsp.engine.checkpoints.plan import plan

    sizes = {
        name: plan(EngineConfig(model="2B-mono", quantize=name, device_map="cpu")).weight_bytes / 1e9
        for name in ("int8", "int4")
    }
    assert sizes["int8"] == pytest.approx(2.78 + 0.13, rel=0.02)
    assert sizes["int4"] == pytest.approx(2.52 * 5 / 8 + 0.13 * 3, rel=0.02)
