"""The recipes: every number that a training depends on.

Knows no data, weights or devices; `train` does what a recipe says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from codegen_lsp.nano.corpus.pools import Pool
from codegen_lsp.nano.corpus.tokenizer import PADDED_VOCABULARY
from codegen_lsp.wire.errors import CodegenError


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a training, up to the share `until` of it: rows and length of a batch, and shares of the pools."""

    until: float
    rows: int
    length: int
    shares: dict[Pool, float]


MIXED: dict[Pool, float] = {"core": 0.2, "focus": 0.4, "broad": 0.4}
"""Shares for most of a training."""

CLOSE: dict[Pool, float] = {"core": 0.5, "focus": 0.4, "broad": 0.1}
"""Shares for the last stage, close to the code that users write."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Dimensions of the model, batches and learning rates, which are those of the schedule's plateau."""

    name: str
    minutes: float
    n_embd: int
    n_layer: int
    n_head: int
    rotary_dim: int
    stages: tuple[Stage, ...]
    matrix_lr: float
    embedding_lr: float
    head_lr: float
    vector_lr: float
    weight_decay: float = 0.1
    warmup: float = 0.02
    """Share of the training in which the learning rates rise from zero."""
    decay_from: float = 0.35
    """Share of the training after which the learning rates fall linearly, to zero at the end."""
    bfloat16: bool = False
    compiled: bool = True
    device: str = "cpu"
    chunk: int = 512
    """Number of positions whose logits exist at the same time."""
    vocab_size: int = PADDED_VOCABULARY
    n_positions: int = 2048
    fill: float = 0.0
    """Share of the rows that consist of fill-in-the-middle samples."""
    workers: int = 0
    """Number of processes that read batches ahead; 0 reads them in the process of the training."""
    initial: str | None = None
    """The recipe whose trained weights this one begins with; None for new weights."""

    def rate(self, progress: float) -> float:
        """Return the factor of the plateau's learning rates at `progress` in [0, 1]: a trapezoid."""
        if progress < self.warmup:
            return max(progress / self.warmup, 0.02)
        return min(1.0, max(0.0, (1.0 - progress) / (1.0 - self.decay_from)))

    def stage(self, progress: float) -> Stage:
        """Return the stage at `progress` in [0, 1]."""
        return next((stage for stage in self.stages if progress < stage.until), self.stages[-1])


CPU = Recipe(
    name="cpu",
    minutes=115,
    n_embd=256,
    n_layer=4,
    n_head=4,
    rotary_dim=32,
    stages=(
        Stage(0.15, 16, 256, MIXED),
        Stage(0.40, 8, 512, MIXED),
        Stage(0.60, 4, 2048, MIXED),
        Stage(1.00, 4, 2048, CLOSE),
    ),
    matrix_lr=1e-2,
    embedding_lr=1e-2,
    head_lr=3e-3,
    vector_lr=3e-3,
)
"""Two cores for less than two hours; float32, because bfloat16 is slower on processors without AMX."""

GPU = Recipe(
    name="gpu",
    minutes=25,
    n_embd=448,
    n_layer=9,
    n_head=8,
    rotary_dim=32,
    stages=(
        Stage(0.70, 128, 1024, MIXED),
        Stage(1.00, 64, 2048, CLOSE),
    ),
    matrix_lr=6e-3,
    embedding_lr=6e-3,
    head_lr=2e-3,
    vector_lr=2e-3,
    bfloat16=True,
    device="cuda",
    chunk=16384,
)
"""One H200 for 25 minutes: 29 million parameters (58 MB in bfloat16) and about a billion tokens."""

CPU_FILL = replace(
    CPU,
    name="cpu-fill",
    minutes=120,
    stages=(
        Stage(0.60, 4, 1024, MIXED),
        Stage(1.00, 2, 2048, CLOSE),
    ),
    matrix_lr=4e-3,
    embedding_lr=4e-3,
    head_lr=1.2e-3,
    vector_lr=1.2e-3,
    warmup=0.03,
    decay_from=0.1,
    fill=0.5,
    initial="cpu",
)
"""Continues the training of `cpu` with fill-in-the-middle samples in half of the rows."""

GPU_FILL = replace(
    CPU,
    name="gpu-fill",
    minutes=6,
    stages=(
        Stage(0.70, 32, 2048, {"core": 0.20, "focus": 0.25, "broad": 0.55}),
        Stage(1.00, 32, 2048, {"core": 0.35, "focus": 0.40, "broad": 0.25}),
    ),
    bfloat16=True,
    device="cuda",
    chunk=16384,
    fill=0.5,
    workers=14,
)
"""The model of `cpu` on one H200 for six minutes, with fill-in-the-middle samples in half of the rows."""

RECIPES = {recipe.name: recipe for recipe in (CPU, GPU, CPU_FILL, GPU_FILL)}


class RecipeError(CodegenError):
    """A recipe does not exist, or does not fit the checkpoint or the training in a folder."""


def named(name: str) -> Recipe:
    """Return the recipe with a name.

    Raises:
        RecipeError: there is no recipe with this name.
    """
    if name not in RECIPES:
        raise RecipeError(f"unknown recipe {name!r}: choose one of {', '.join(RECIPES)}")
    return RECIPES[name]
