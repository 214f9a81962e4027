"""A faster forward and backward pass over the parameters of a `CodeGenForCausalLM`, for training.

The arithmetic is the published model's: attention and feed-forward in parallel, interleaved rotary positions, one
projection for query, value and key in four shards. It is faster because attention is fused, and it needs less memory
because the logits of all positions never exist at the same time. Knows no data, optimizers or files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from torch import Tensor, nn
from transformers import CodeGenConfig, CodeGenForCausalLM

SHARDS = 4
"""`qkv_proj` has the layout of the accelerators that CodeGen was trained on: query, value and key in each shard."""

LossOf = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


def new_model(config: CodeGenConfig, seed: int) -> CodeGenForCausalLM:
    """Return a model with new weights, whose output projections are zero, so that every block is an identity."""
    torch.manual_seed(seed)
    model = CodeGenForCausalLM(config)
    model.config.use_cache = False
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("out_proj.weight", "fc_out.weight")):
                parameter.zero_()
            elif name.endswith(("qkv_proj.weight", "fc_in.weight")):
                nn.init.normal_(parameter, std=config.n_embd**-0.5)
            elif name == "transformer.wte.weight":
                nn.init.normal_(parameter, std=0.5)
            elif name == "lm_head.weight":
                nn.init.normal_(parameter, std=0.01)
            elif name.endswith("bias"):
                parameter.zero_()
    return model


def rotary_table(config: CodeGenConfig, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Return sine and cosine of every position's angles, each (n_positions, rotary_dim / 2)."""
    frequencies = 1.0 / 10000 ** (
        torch.arange(0, config.rotary_dim, 2, device=device).float() / config.rotary_dim
    )
    angles = torch.arange(config.n_positions, device=device).float()[:, None] * frequencies
    return angles.sin(), angles.cos()


def rotate(x: Tensor, sin: Tensor, cos: Tensor, rotary_dim: int) -> Tensor:
    """Rotate the first `rotary_dim` features of x (rows, positions, heads, features) by their position's angles."""
    even, odd = x[..., 0:rotary_dim:2], x[..., 1:rotary_dim:2]
    sin, cos = sin[:, None, :].to(x.dtype), cos[:, None, :].to(x.dtype)
    pairs = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1)
    return torch.cat((pairs.flatten(-2), x[..., rotary_dim:]), dim=-1)


def attend(block: Any, h: Tensor, heads: int, rotary_dim: int, sin: Tensor, cos: Tensor) -> Tensor:
    """Return the causal self-attention of one block over h (rows, positions, features), in the same shape."""
    rows, length, width = h.shape
    qkv = F.linear(h, block.attn.qkv_proj.weight).view(rows, length, SHARDS, 3, width // SHARDS)
    query, value, key = (part.reshape(rows, length, heads, width // heads) for part in qkv.unbind(3))
    query, key = rotate(query, sin, cos, rotary_dim), rotate(key, sin, cos, rotary_dim)
    mixed = F.scaled_dot_product_attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), is_causal=True
    )
    return F.linear(mixed.transpose(1, 2).reshape(rows, length, width), block.attn.out_proj.weight)


def hidden_states(model: CodeGenForCausalLM, ids: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
    """Return the features before the head, (rows, positions, n_embd), for token ids (rows, positions)."""
    config = model.config
    sin, cos = sin[: ids.shape[1]], cos[: ids.shape[1]]
    transformer: Any = model.transformer
    x = transformer.wte(ids)
    for block in transformer.h:
        h = block.ln_1(x)
        x = x + attend(block, h, config.n_head, config.rotary_dim, sin, cos) + block.mlp(h)
    result: Tensor = transformer.ln_f(x)
    return result


class HeadLoss(torch.autograd.Function):
    """Mean cross-entropy of a linear head, with its gradients computed chunk by chunk in the forward pass.

    Inputs: features (positions, n_embd), weight (vocabulary, n_embd), bias (vocabulary), targets (positions),
    and `softmax_loss` or a compiled version of it.
    """

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, loss_of: LossOf, chunk: int
    ) -> Tensor:
        """Return the mean loss in nats."""
        total = features.new_zeros((), dtype=torch.float32)
        d_features = torch.empty_like(features)
        d_weight = torch.zeros_like(weight)
        d_bias = torch.zeros_like(bias)
        scale = 1.0 / targets.numel()
        weight_ = weight.to(features.dtype)
        for start in range(0, targets.numel(), chunk):
            part, target = features[start : start + chunk], targets[start : start + chunk]
            logits = torch.addmm(bias.to(part.dtype), part, weight_.t()).float()
            loss, d_logits = loss_of(logits, target, scale)
            total += loss
            d_bias += d_logits.sum(0)
            d_logits = d_logits.to(part.dtype)
            torch.mm(d_logits, weight_, out=d_features[start : start + chunk])
            if features.dtype == weight.dtype:
                d_weight.addmm_(d_logits.t(), part)
            else:
                d_weight += d_logits.t() @ part
        ctx.save_for_backward(d_features, d_weight, d_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        """Return the gradients that the forward pass saved, scaled."""
        d_features, d_weight, d_bias = ctx.saved_tensors
        (scale,) = grad_outputs
        return d_features * scale.to(d_features.dtype), d_weight * scale, d_bias * scale, None, None, None


def softmax_loss(logits: Tensor, targets: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Return the sum of the cross-entropy of logits (positions, vocabulary), times `scale`, and its gradient."""
    top = logits.amax(dim=-1, keepdim=True)
    sums = (logits - top).exp().sum(dim=-1, keepdim=True)
    loss = (sums.log() + top - logits.gather(1, targets[:, None])).sum() * scale
    hit = torch.arange(logits.shape[1], device=logits.device) == targets[:, None]
    gradient = (logits - top).exp() * (scale / sums) - hit * scale
    return loss, gradient


class TrainingModel:
    """The loss of a model, compiled on request; the parameters stay those of the model."""

    def __init__(
        self, model: CodeGenForCausalLM, *, compiled: bool, bfloat16: bool, chunk: int = 512
    ) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        self._sin, self._cos = rotary_table(model.config, self.device)
        self._bfloat16 = bfloat16
        self._chunk = chunk
        self._forward = torch.compile(hidden_states, dynamic=False) if compiled else hidden_states
        self._loss_of = torch.compile(softmax_loss, dynamic=False) if compiled else softmax_loss

    def features(self, ids: Tensor) -> Tensor:
        """Return the features before the head, (rows, positions, n_embd)."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._bfloat16):
            result: Tensor = self._forward(self.model, ids, self._sin, self._cos)
        return result.to(torch.bfloat16) if self._bfloat16 else result

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats of targets (rows, positions), given ids (rows, positions)."""
        features = self.features(ids).flatten(0, 1)
        head = self.model.lm_head
        result: Tensor = HeadLoss.apply(  # type: ignore[no-untyped-call]
            features, head.weight, head.bias, targets.flatten(), self._loss_of, self._chunk
        )
        return result
