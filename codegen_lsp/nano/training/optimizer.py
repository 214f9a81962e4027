"""The optimizer: Muon for hidden matrices, AdamW for everything else.

Muon (K. Jordan and others, 2024) replaces the momentum of a matrix with the nearest semi-orthogonal matrix, computed
by a few Newton-Schulz steps, so that every direction of the matrix learns at the same rate. Knows no schedules: the
caller sets `lr` of each group.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

_QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of x -> a x + b x^3 + c x^5 that push singular values in (0, 1] to about 1 in five steps."""


def orthogonalized(matrices: Tensor, steps: int = 5) -> Tensor:
    """Return approximately the nearest semi-orthogonal matrices, (..., rows, columns).

    Their singular values are between about 0.7 and 1.2.
    """
    a, b, c = _QUINTIC
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    x = x.bfloat16() if x.is_cuda else x
    wide = x.shape[-2] <= x.shape[-1]
    x = x if wide else x.mT
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = (x if wide else x.mT).to(matrices.dtype)
    return result


def split_matrices(parameter: Tensor, name: str) -> Tensor:
    """Return the matrices in a parameter: query, value and key as (3, n_embd, n_embd), or the parameter itself."""
    if name.endswith("qkv_proj.weight"):
        width = parameter.shape[1]
        return parameter.view(4, 3, width // 4, width).transpose(0, 1).reshape(3, width, width)
    return parameter


def joined_matrices(matrices: Tensor, name: str) -> Tensor:
    """Invert `split_matrices`."""
    if name.endswith("qkv_proj.weight"):
        width = matrices.shape[-1]
        return matrices.view(3, 4, width // 4, width).transpose(0, 1).reshape(3 * width, width)
    return matrices


class Muon(torch.optim.Optimizer):
    """Orthogonalized Nesterov momentum with decoupled weight decay. The root mean square of a step is 0.2 * lr.

    `named` holds (name, matrix) pairs; the name tells `split_matrices` how the parameter is laid out.
    """

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        names, parameters = zip(*named, strict=True)
        self._names = names
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient; `closure` is not supported."""
        if closure is not None:
            raise NotImplementedError("Muon supports no closure: call backward() before step()")
        for group in self.param_groups:
            for name, parameter in zip(self._names, group["params"], strict=True):
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"]
                momentum.lerp_(parameter.grad, 1 - group["momentum"])
                direction = split_matrices(parameter.grad.lerp(momentum, group["momentum"]), name)
                update = orthogonalized(direction) * (0.2 * math.sqrt(max(direction.shape[-2:])))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(joined_matrices(update, name), alpha=-group["lr"])


def build_optimizers(model: nn.Module, recipe: Any) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices inside the blocks and AdamW for embeddings, head, norms and biases."""
    hidden, embeddings, vectors = [], [], []
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and ".h." in name:
            hidden.append((name, parameter))
        elif parameter.ndim == 2:
            embeddings.append(parameter)
        else:
            vectors.append(parameter)
    wte = model.get_parameter("transformer.wte.weight")
    head = model.get_parameter("lm_head.weight")
    assert {id(wte), id(head)} == set(map(id, embeddings))
    adamw = torch.optim.AdamW(
        [
            {"params": [wte], "lr": recipe.embedding_lr, "weight_decay": 0.0},
            {"params": [head], "lr": recipe.head_lr, "weight_decay": recipe.weight_decay},
            {"params": vectors, "lr": recipe.vector_lr, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.99),
        eps=1e-10,
        fused=True,
    )
    return [Muon(hidden, recipe.matrix_lr, weight_decay=recipe.weight_decay), adamw]
