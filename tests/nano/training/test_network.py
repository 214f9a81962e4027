"""The forward pass of training against the published model's, and the loss against torch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, CodeGenConfig, CodeGenForCausalLM

from codegen_lsp.nano import MODEL_DIR
from codegen_lsp.nano.training.network import (
    HeadLoss,
    TrainingModel,
    hidden_states,
    new_model,
    rotary_table,
    softmax_loss,
)


def config(**changes: Any) -> CodeGenConfig:
    values: dict[str, Any] = {
        "vocab_size": 97,
        "n_positions": 64,
        "n_ctx": 64,
        "n_embd": 48,
        "n_layer": 3,
        "n_head": 8,
        "rotary_dim": 4,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    return CodeGenConfig(**{**values, **changes})


def with_random_weights(shape: CodeGenConfig) -> CodeGenForCausalLM:
    model = new_model(shape, seed=1)
    torch.manual_seed(2)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("changes", [{}, {"n_head": 4}, {"n_head": 4, "rotary_dim": 12}, {"n_inner": 40}])
def test_logits_are_those_of_the_published_model(changes: dict[str, int]) -> None:
    model = with_random_weights(config(**changes))
    ids = torch.randint(0, 97, (3, 50))
    with torch.no_grad():
        ours = model.lm_head(hidden_states(model, ids, *rotary_table(model.config)))
        theirs = model(ids).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


def test_logits_of_the_shipped_model_are_the_same_too() -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype=torch.float32)
    ids = torch.randint(0, model.config.vocab_size, (1, 700), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        ours = model.lm_head(hidden_states(model, ids, *rotary_table(model.config)))
        theirs = model(ids).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


def test_loss_and_gradients_are_torchs() -> None:
    model = with_random_weights(config())
    batch = torch.randint(0, 97, (2, 51))
    loss = TrainingModel(model, compiled=False, bfloat16=False, chunk=32).loss(batch[:, :-1], batch[:, 1:])
    loss.backward()
    ours = {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    model.zero_grad()
    logits = model(batch[:, :-1]).logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
    expected.backward()
    torch.testing.assert_close(loss, expected)
    assert set(ours) == {name for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("positions", [1, 64, 65, 135])
def test_chunks_do_not_change_the_loss(positions: int) -> None:
    features = torch.randn(positions, 8, requires_grad=True)
    weight, bias = torch.randn(31, 8, requires_grad=True), torch.randn(31, requires_grad=True)
    targets = torch.randint(0, 31, (positions,))
    ours = HeadLoss.apply(features, weight, bias, targets, softmax_loss, 64)
    expected = torch.nn.functional.cross_entropy(features @ weight.t() + bias, targets)
    torch.testing.assert_close(ours, expected)
    for mine, theirs in zip(
        torch.autograd.grad(ours, (features, weight, bias)),
        torch.autograd.grad(expected, (features, weight, bias)),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_bfloat16_is_close() -> None:
    model = with_random_weights(config())
    batch = torch.randint(0, 97, (2, 51))
    exact = TrainingModel(model, compiled=False, bfloat16=False).loss(batch[:, :-1], batch[:, 1:])
    rough = TrainingModel(model, compiled=False, bfloat16=True).loss(batch[:, :-1], batch[:, 1:])
    rough.backward()
    torch.testing.assert_close(rough, exact, rtol=0.02, atol=0.0)


def test_a_new_model_knows_nothing_and_is_the_same_for_a_seed() -> None:
    first, again, other = (new_model(config(), seed) for seed in (5, 5, 6))
    batch = torch.randint(0, 97, (2, 51))
    loss = TrainingModel(first, compiled=False, bfloat16=False).loss(batch[:, :-1], batch[:, 1:])
    assert abs(float(loss.detach()) - torch.log(torch.tensor(97.0))) < 0.1
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)
