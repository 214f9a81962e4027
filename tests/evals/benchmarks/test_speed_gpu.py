"""The models that are measured on a GPU, without one."""

from __future__ import annotations

import pytest
import torch

from codegen_lsp.evals.benchmarks.speed import gpu_models


@pytest.mark.parametrize(
    ("size", "parameters"),
    [("smollm2-135m", 134_515_008), ("qwen2.5-0.5b", 494_032_768), ("350M", 356_712_448)],
)
def test_they_have_the_sizes_of_published_ones(size: str, parameters: int) -> None:
    module = gpu_models.module_of(size, "meta")
    assert (module.num_parameters(), module.dtype) == (parameters, torch.bfloat16)
    table = module.get_input_embeddings().weight.numel()
    read = parameters - (0 if module.config.tie_word_embeddings else table)
    assert gpu_models.read_bytes(module) == 2 * read
