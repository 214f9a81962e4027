"""The four shapes of CodeGen, from which a plan is made on a machine that has none of the weights.

Source: table 2 and appendix of Nijkamp et al. 2022 (arXiv 2203.13474), and the configurations of the published
checkpoints: context 2,048, vocabulary 51,200, untied embeddings, `gelu_new`, LayerNorm with epsilon 1e-5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Dimensions:
    """What differs between the four."""

    name: str
    layers: int
    width: int
    heads: int
    rotary: int

    def config(self) -> dict[str, Any]:
        """The arguments of `CodeGenConfig`; ends are those of CodeGen's tokenizer (the hub's configuration names
        id 1 as the beginning of text, and no padding)."""
        return {
            "vocab_size": 51_200,
            "n_positions": 2_048,
            "n_ctx": 2_048,
            "n_embd": self.width,
            "n_layer": self.layers,
            "n_head": self.heads,
            "rotary_dim": self.rotary,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": 1e-5,
            "attn_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "resid_pdrop": 0.0,
            "tie_word_embeddings": False,
            "bos_token_id": 50_256,
            "eos_token_id": 50_256,
            "pad_token_id": 50_256,
        }


SHAPES = {
    shape.name: shape
    for shape in (
        Dimensions("350M", 20, 1_024, 16, 32),
        Dimensions("2B", 32, 2_560, 32, 64),
        Dimensions("6B", 33, 4_096, 16, 64),
        Dimensions("16B", 34, 6_144, 24, 64),
    )
}


def shape_of(name: str) -> Dimensions | None:
    """The shape that a name such as `2B`, `350m-mono` or `Salesforce/codegen-16B-nl` speaks of."""
    match = re.fullmatch(
        r"(?:salesforce/)?(?:codegen-)?(350m|2b|6b|16b)(?:[-_](?:nl|multi|mono))?", name.lower()
    )
    return SHAPES[match[1].upper()] if match else None
