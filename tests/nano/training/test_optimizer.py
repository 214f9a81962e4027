"""Muon: orthogonal steps of a known size, and a loss that falls."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from transformers import CodeGenConfig

from codegen_lsp.nano.training.network import TrainingModel, new_model
from codegen_lsp.nano.training.optimizer import (
    Muon,
    build_optimizers,
    joined_matrices,
    orthogonalized,
    split_matrices,
)
from codegen_lsp.nano.training.recipes import CPU, Recipe


@pytest.mark.parametrize("shape", [(64, 64), (32, 128), (128, 32), (3, 48, 48)])
def test_orthogonalized_matrices_have_singular_values_near_one(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(*shape) * 1e-3
    values = torch.linalg.svdvals(orthogonalized(matrices, steps=7))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_orthogonalizing_keeps_the_singular_vectors() -> None:
    left, values, right = torch.linalg.svd(torch.randn(40, 24), full_matrices=False)
    rotated = left.T @ orthogonalized(left @ torch.diag(values) @ right) @ right.T
    assert (rotated - torch.diag(rotated.diagonal())).abs().max() < 1e-3


def test_query_value_and_key_are_apart_in_all_shards() -> None:
    width = 8
    weight = torch.arange(3 * width * width, dtype=torch.float32).view(3 * width, width)
    parts = split_matrices(weight, "transformer.h.0.attn.qkv_proj.weight")
    assert parts.shape == (3, width, width)
    shards = weight.view(4, 3, width // 4, width)
    torch.testing.assert_close(parts[1], shards[:, 1].reshape(width, width))
    torch.testing.assert_close(joined_matrices(parts, "attn.qkv_proj.weight"), weight)
    assert split_matrices(weight, "mlp.fc_in.weight") is weight


def test_a_step_has_the_size_that_the_learning_rate_says() -> None:
    parameter = nn.Parameter(torch.zeros(64, 256))
    parameter.grad = torch.randn(64, 256)
    Muon([("mlp.fc_in.weight", parameter)], lr=0.01).step()
    size = parameter.detach().square().mean().sqrt()
    # An orthogonal 64 x 256 matrix has a root mean square of 1/16, and sqrt(256) takes that away.
    assert 0.0015 < size < 0.0025


def test_weight_decay_shrinks_weights_that_have_no_gradient_to_speak_of() -> None:
    parameter = nn.Parameter(torch.ones(8, 8))
    parameter.grad = torch.zeros(8, 8)
    Muon([("x", parameter)], lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(parameter.detach(), torch.full((8, 8), 0.95))


def test_a_closure_is_refused() -> None:
    with pytest.raises(NotImplementedError):
        Muon([("x", nn.Parameter(torch.ones(2, 2)))], lr=0.1).step(lambda: 0.0)


def test_every_parameter_is_in_exactly_one_optimizer_and_the_loss_falls(tiny: Recipe) -> None:
    recipe = replace(tiny, n_embd=32)
    config = CodeGenConfig(
        vocab_size=50, n_embd=32, n_layer=2, n_head=4, rotary_dim=4, n_positions=64, n_ctx=64
    )
    model = new_model(config, seed=0)
    optimizers = build_optimizers(model, recipe)
    held = [
        id(parameter)
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())
    network = TrainingModel(model, compiled=False, bfloat16=False)
    batch = torch.arange(33).repeat(4, 1) % 10
    losses = []
    for _ in range(60):
        loss = network.loss(batch[:, :-1], batch[:, 1:])
        loss.backward()
        losses.append(float(loss.detach()))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert losses[-1] < 0.2 * losses[0]


def test_the_rates_rise_hold_and_fall_to_nothing() -> None:
    assert CPU.rate(0.0) < 0.05
    assert CPU.rate(CPU.warmup) == CPU.rate(CPU.decay_from) == 1.0
    assert 0.4 < CPU.rate((1 + CPU.decay_from) / 2) < 0.6
    assert CPU.rate(1.0) == 0.0
    assert [CPU.stage(progress).length for progress in (0.0, 0.3, 0.99, 1.0)] == [256, 512, 2048, 2048]
