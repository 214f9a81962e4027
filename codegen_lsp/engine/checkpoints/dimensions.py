"""The twelve CodeGen models: names, dimensions, sizes and addresses, so that plans need none of their files.

Source: table 2 and appendix of Nijkamp et al. 2022 (arXiv 2203.13474), and the configurations of the published
checkpoints: context 2,048, vocabulary 51,200, untied embeddings, `gelu_new`, LayerNorm with epsilon 1e-5.
Imports no torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

CONTEXT = 2_048
VOCABULARY = 51_200
END_OF_TEXT = 50_256
"""The end of text of CodeGen's tokenizer. The configurations on the hub name id 1 as the beginning of text instead, and
no padding."""

CHUNKS = 4
"""A CodeGen model's projection holds queries, values and keys four times, each for a quarter of the heads, because it
was trained on four cores of a TPU (the released code calls it `mp_num`)."""

CODEGEN2_CHUNKS = {(16, 2_048): 8, (16, 4_096): 8}
"""Number of parts by (layers, width) where it is another one: CodeGen2 with 1B and 3.7B parameters. The configurations
don't have it; the code that comes with these checkpoints does, and is never run."""

VARIANTS = ("nl", "multi", "mono")
"""What a model was trained on: natural language, then code in six languages, then Python."""

NAME = re.compile(
    r"""
    (?: salesforce/ )?
    (?: codegen- )?
    (?P<size> 350m | 2b | 6b | 16b )
    (?: [-_] (?P<variant> nl | multi | mono ) )?
    """,
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The dimensions in which the sizes of CodeGen differ."""

    name: str
    layers: int
    width: int
    heads: int
    rotary: int

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        attention, feed_forward, norms = 4 * self.width**2, 8 * self.width**2 + 5 * self.width, 2 * self.width
        embeddings = 2 * VOCABULARY * self.width + VOCABULARY
        return self.layers * (attention + feed_forward + norms) + embeddings + norms

    def weight_bytes(self, bytes_per_weight: int = 2) -> int:
        """Return the bytes of all weights; 2 bytes per weight in bfloat16 and float16, 4 in float32."""
        return self.parameters * bytes_per_weight

    def config(self) -> dict[str, Any]:
        """Return the arguments of transformers' `CodeGenConfig`."""
        return {
            "vocab_size": VOCABULARY,
            "n_positions": CONTEXT,
            "n_ctx": CONTEXT,
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
            "bos_token_id": END_OF_TEXT,
            "eos_token_id": END_OF_TEXT,
            "pad_token_id": END_OF_TEXT,
        }


SIZES = {
    dimensions.name: dimensions
    for dimensions in (
        Dimensions("350M", 20, 1_024, 16, 32),
        Dimensions("2B", 32, 2_560, 32, 64),
        Dimensions("6B", 33, 4_096, 16, 64),
        Dimensions("16B", 34, 6_144, 24, 64),
    )
}


def chunks_of(layers: int, width: int, written: object = None) -> int:
    """Return in how many parts a CodeGen model's projection is stored; `written` is `mp_num` of its configuration."""
    if isinstance(written, int) and written > 0:
        return written
    return CODEGEN2_CHUNKS.get((layers, width), CHUNKS)


def short_names() -> tuple[str, ...]:
    """Return `350M-nl` to `16B-mono`."""
    return tuple(f"{size}-{variant}" for size in SIZES for variant in VARIANTS)


def short_name(name: str) -> str | None:
    """Return the short name of one of the twelve models, `350M-mono` for `Salesforce/codegen-350M-mono`."""
    match = NAME.fullmatch(name)
    return f"{match['size'].upper()}-{match['variant'].lower()}" if match and match["variant"] else None


def hub_name(short: str) -> str:
    """Return the name on the hub of one of the twelve models, `Salesforce/codegen-350M-mono` for `350M-mono`."""
    return f"Salesforce/codegen-{short}"


def url(short: str) -> str:
    """Return the address of the page of one of the twelve models."""
    return f"https://huggingface.co/{hub_name(short)}"


def dimensions_of(name: str) -> Dimensions | None:
    """Return the dimensions for a name such as `2B`, `350m-mono` or `Salesforce/codegen-16B-nl`."""
    match = NAME.fullmatch(name)
    return SIZES[match["size"].upper()] if match else None
