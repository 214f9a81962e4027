from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.checkpoints import LLAMAS, TinyCodeGen, build_llama, save


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder, and skip it with a reason where it can't run."""
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


WIDTHS = {"n_embd": 1024, "n_head": 16, "rotary_dim": 32, "n_positions": 2048}
"""Dimensions of the 350M."""


@pytest.fixture(scope="session")
def real_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the 350M's shape with random weights, which the GPU makes in no time."""
    shape = TinyCodeGen(**WIDTHS, n_layer=20, vocab_size=51200, initializer_range=0.02)
    with torch.device("cuda"):
        model = shape.build()
    return save(tmp_path_factory.mktemp("models") / "350M", model.bfloat16())


QWEN = {
    "vocab_size": 8000,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_attention_heads": 14,
    "num_hidden_layers": 4,
    "max_position_embeddings": 4096,
    "initializer_range": 0.05,
}
"""Dimensions of Qwen2.5-0.5B, but for the number of layers and of words."""


@pytest.fixture(scope="session", params=[*LLAMAS, "real widths"])
def llama_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A relative of Llama with random weights."""
    build = LLAMAS.get(request.param, lambda: build_llama("qwen2", **QWEN))
    return save(tmp_path_factory.mktemp("models") / "llama", build())


@pytest.fixture(scope="session")
def clear_cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few layers of the 350M's widths, with weights so large that the likeliest token leads clearly."""
    shape = TinyCodeGen(**WIDTHS, n_layer=3, seed=4, initializer_range=0.05)
    return save(tmp_path_factory.mktemp("models") / "clear-cut", shape.build())
