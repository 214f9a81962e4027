"""The compiled step of Llama and its relatives: gated units after attention, and queries that share keys and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from codegen_lsp.engine.model.compiled import rotation
from codegen_lsp.engine.model.compiled.parts import StepParts, table_of, weights_of
from codegen_lsp.engine.model.compiled.program import StepProgram
from codegen_lsp.engine.model.compiled.step import CompiledStep
from codegen_lsp.engine.model.compiled.workspace import Widths, Workspace
from codegen_lsp.engine.model.passes import Pass, positions
from codegen_lsp.engine.quantized import elementwise
from codegen_lsp.engine.quantized.products import KernelWeights


class LlamaParts(StepParts):
    """The layers of one model of Llama's family."""

    def __init__(
        self, module: Any, weights: Mapping[nn.Module, KernelWeights], table: torch.Tensor, context: int
    ) -> None:
        """Take a model, what `weights_of` says of it, and the maximum number of its tokens."""
        super().__init__(weights)
        body, config = module.model, module.config
        self.table = table
        self.blocks = list(body.layers)
        self.final_norm = body.norm
        self.head = weights[module.lm_head]
        first = self.blocks[0]
        self.width = first.self_attn.head_dim
        self.heads = config.num_attention_heads
        self.division = config.num_key_value_heads
        self.sharing = self.heads // self.division
        self.inner: int = first.mlp.up_proj.out_features
        self._angles = body.rotary_emb
        attended, keys = self.heads * self.width, self.division * self.width
        self.starts = 0, attended, attended + keys
        """Where queries, keys and values start in a token's projections."""
        self.context = context
        self.widths = Widths(
            config.hidden_size,
            self.inner,
            attended + 2 * keys,
            attended,
            self.packs,
            gated=True,
            turned=self.width // 2,
        )

    def rotation(self, *, is_half: bool) -> int:
        """Return the address of the kernel that turns the halves of heads."""
        return rotation.of_halves(self.width, is_half=is_half)

    def tables(self, workspace: Workspace, start: int) -> tuple[int, int]:
        """Return the addresses of the lines that `prepare` writes for a request's tokens."""
        return workspace.cosines[start:].data_ptr(), workspace.sines[start:].data_ptr()

    def prepare(self, workspace: Workspace, passes: Sequence[Pass]) -> None:
        """Write the angles of the tokens' positions."""
        order = positions(passes)
        cosines, sines = self._angles(workspace.cosines, order[None])
        half = self.width // 2
        workspace.cosines[: len(order)] = cosines[0, :, :half]
        workspace.sines[: len(order)] = sines[0, :, :half]

    def norm(self) -> int:
        """Return the address of the kernel for norms by the root mean square."""
        return elementwise.norm(centred=False)

    def norm_weights(self, norm: Any) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Return the weight and epsilon of a norm, which has no bias."""
        return norm.weight, norm.weight, norm.variance_epsilon


class LlamaProgram(StepProgram):
    """The program for one arrangement of tokens in a model of Llama's family."""

    _step: LlamaParts

    def _add_layer(self, index: int, block: Any) -> None:
        program, step, rooms = self._program, self._step, self._rows
        attention, gated = block.self_attn, block.mlp
        self._add_inputs(block.input_layernorm)
        projections = attention.q_proj, attention.k_proj, attention.v_proj
        for start, projection in zip(step.starts, projections, strict=True):
            self._add_product(projection, rooms.normed_inputs, rooms.parts[:, start:])
        program.meet()
        self._add_rotations(index)
        program.meet()
        self._add_attention(index)
        self._add_product(attention.o_proj, rooms.mixed_inputs, self._states, adds=True)
        program.meet()
        self._add_inputs(block.post_attention_layernorm)
        self._add_product(gated.gate_proj, rooms.normed_inputs, rooms.gates)
        self._add_product(gated.up_proj, rooms.normed_inputs, rooms.hidden)
        self._add_activation(
            gated.gate_proj, elementwise.silu, rooms.gates.data_ptr(), rooms.hidden.data_ptr()
        )
        program.meet()
        self._pack(rooms.gates, rooms.hidden_inputs)
        program.meet()
        self._add_product(gated.down_proj, rooms.hidden_inputs, self._states, adds=True)
        program.meet()


def compiled_step(module: PreTrainedModel, context: int) -> CompiledStep | None:
    """Return the compiled forward pass of a model over few tokens; None if the kernels can't compute it.

    Its weights are quantized and in memory, and its norms in float32.
    """
    body: Any = module.model
    # A rotation takes whole vectors of each half of a head; the kernel for norms takes whole vectors of a row.
    widths = (body.layers[0].self_attn.head_dim // 2, module.config.get_text_config().hidden_size)
    weights, table = weights_of(module, widths), table_of(body.embed_tokens)
    if weights is None or table is None:
        return None
    parts = LlamaParts(module, weights, table, context)
    return CompiledStep(parts, partial(LlamaProgram, parts))
