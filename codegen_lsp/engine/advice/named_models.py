"""The models that are worth naming: sizes, licences, and what each was trained for. Imports no torch.

Sources: the model cards and configurations on the hub, November 2026. Parameters count tied embeddings once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from codegen_lsp.engine.checkpoints.checkpoint import NANO, NANO_FOLDER
from codegen_lsp.engine.checkpoints.dimensions import SIZES, VARIANTS, VOCABULARY, Dimensions
from codegen_lsp.engine.checkpoints.sources import smollm2

DATA = {
    "mono": "Python",
    "multi": "C, C++, Go, Java, JavaScript, Python",
    "nl": "natural language and some code",
}
"""What each variant of CodeGen was trained on, in the order of the menus."""

BSD, APACHE = "BSD-3-Clause", "Apache-2.0"


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model that users can name."""

    name: str
    """What `--model` takes."""
    parameters: int
    licence: str
    fills: bool
    """Whether it was trained to fill in the middle."""
    about: str
    """What it was trained on."""
    order: int = 0
    """How well it completes code: the larger, the better; 0 is never recommended."""
    tables: int = 0
    """Parameters of its embedding table that a step doesn't read; 0 if the head has the same weights."""

    def weight_bytes(self, bytes_per_weight: float) -> int:
        """Return the bytes of all weights."""
        return int(self.parameters * bytes_per_weight)

    def step_bytes(self, bytes_per_weight: float) -> int:
        """Return the bytes that a token costs to decode: all weights but the rows of the table."""
        return int((self.parameters - self.tables) * bytes_per_weight)


@cache
def named_models() -> tuple[NamedModel, ...]:
    """Return all named models: nano, SmolLM2, the twelve CodeGen models, then those of other families."""
    return (_nano(), _smollm2(), *_codegen(), *_codegen2(), *_others())


def _nano() -> NamedModel:
    config = json.loads((NANO_FOLDER / "config.json").read_text(encoding="utf-8"))
    width, vocabulary = config["n_embd"], config["vocab_size"]
    table = width * vocabulary
    layers = config["n_layer"] * (12 * width**2 + 7 * width)
    fills = "<mask_1>" in (NANO_FOLDER / "tokenizer.json").read_text(encoding="utf-8")
    parameters = layers + 2 * table + vocabulary + 2 * width
    return NamedModel(NANO, parameters, BSD, fills, "bundled and small: Python", 1, table)


def _smollm2() -> NamedModel:
    return NamedModel(smollm2.NAME, 134_515_008, APACHE, False, "English and some code", 2)


def _codegen() -> list[NamedModel]:
    orders = {"350M": 3, "2B": 6, "6B": 7, "16B": 8}
    return [
        NamedModel(
            f"{size}-{variant}",
            dimensions.parameters,
            BSD,
            False,
            DATA[variant],
            orders[size] if variant == "mono" else 0,
            VOCABULARY * dimensions.width,
        )
        for size, dimensions in SIZES.items()
        for variant in sorted(VARIANTS, key=list(DATA).index)
    ]


def _codegen2() -> list[NamedModel]:
    sizes = {
        "1B": (Dimensions("1B", 16, 2_048, 16, 64), 0),
        "3_7B": (Dimensions("3.7B", 16, 4_096, 16, 64), 0),
        "7B": (Dimensions("7B", 32, 4_096, 16, 64), 0),
        "16B": (Dimensions("16B", 34, 6_144, 24, 64), 0),
    }
    about = "code in twelve languages"
    return [
        NamedModel(
            f"Salesforce/codegen2-{size}_P",
            dimensions.parameters,
            APACHE,
            True,
            about,
            order,
            VOCABULARY * dimensions.width,
        )
        for size, (dimensions, order) in sizes.items()
    ]


def _others() -> list[NamedModel]:
    code = "code in many languages"
    return [
        NamedModel("tiiuae/Falcon-H1-Tiny-Coder-90M", 91_000_000, "Falcon-LLM", True, "Python", 0),
        NamedModel("Qwen/Qwen2.5-Coder-0.5B", 494_032_768, APACHE, True, code, 5),
        NamedModel("Qwen/Qwen2.5-Coder-1.5B", 1_543_714_304, APACHE, True, code, 11),
        NamedModel("Qwen/Qwen2.5-Coder-3B", 3_085_938_688, "Qwen-Research", True, code, 0),
        NamedModel("Qwen/Qwen2.5-Coder-7B", 7_615_616_512, APACHE, True, code, 12, 152_064 * 3_584),
        NamedModel("bigcode/starcoder2-3b", 3_030_371_328, "OpenRAIL-M", True, "code in 17 languages", 9),
        NamedModel(
            "deepseek-ai/deepseek-coder-1.3b-base", 1_346_471_936, "DeepSeek", True, code, 10, 32_256 * 2_048
        ),
        NamedModel(
            "ibm-granite/granite-3b-code-base-2k", 3_482_600_000, APACHE, True, "code in 116 languages", 8
        ),
    ]
