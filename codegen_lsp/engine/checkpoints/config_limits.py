"""Refuse a `config.json` that would keep transformers busy for hours, exhaust memory, or fetch code.

The limits are far above every published model. They are checked on the JSON, since building a configuration can
already take time and memory in proportion to its numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codegen_lsp.engine.checkpoints.checkpoint import CheckpointError

LIMITS = {
    "layer": 1_000,
    "depth": 1_000,
    "stage": 1_000,
    "blocks": 1_000,
    "label": 10_000,
    "expert": 10_000,
    "head": 100_000,
    "vocab": 10**8,
    "position": 2**27,
    "ctx": 2**27,
    "embd": 10**6,
    "hidden_size": 10**6,
    "intermediate_size": 10**7,
    "rotary": 10**5,
}
"""Maximum of every number whose name contains one of these words."""

MAX_NUMBER = 10**12
"""Maximum of all other numbers."""

MAX_TABLE_BYTES = 2**30
"""Maximum size of the tables of rotations that CodeGen builds for its positions, in all layers."""

ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
"""Implementations of attention that transformers has built in; every other name is a kernel on the hub."""


def check_config(config: dict[str, Any], path: Path) -> None:
    """Check the numbers in a configuration, and that it names no code.

    Raises:
        CheckpointError: a number is absurd, or the configuration names a kernel on the hub; `path` is named.
    """
    for name, value in _entries(config):
        if "attn_implementation" in name or "experts_implementation" in name:
            _check_implementation(name, value, path)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            limits = [limit for word, limit in LIMITS.items() if word in name]
            limit = min(limits, default=MAX_NUMBER)
            if value < 0 and limits:
                raise CheckpointError(f"{path} is wrong: {name!r} is {value:.6g}, less than any model has")
            if abs(value) > limit:
                raise CheckpointError(
                    f"{path} is wrong: {name!r} is {value:.6g}, more than any model has ({limit})"
                )
    _check_tables(config, path)


def _entries(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield all names and values of a configuration and of those nested in it."""
    stack: list[Any] = [config]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            for name, value in node.items():
                yield name, value
                stack.append(value)
        elif isinstance(node, list):
            stack += node


def _check_implementation(name: str, value: object, path: Path) -> None:
    values = value.values() if isinstance(value, dict) else [value]
    foreign = [v for v in values if v is not None and v not in ATTENTION]
    if (foreign and "attn" in name) or any("/" in str(v) for v in foreign):
        raise CheckpointError(
            f"{path} names the attention {str(foreign[0])[:100]!r}, which is code from the hub that this engine never "
            f"runs; remove {name!r}"
        )


def _check_tables(config: dict[str, Any], path: Path) -> None:
    positions, layers = config.get("n_positions", 0), config.get("n_layer", 0)
    width = config.get("rotary_dim") or config.get("n_embd") or 0
    numbers = (positions, layers, width)
    if config["model_type"] not in ("codegen", "gptj") or not all(isinstance(n, int) for n in numbers):
        return
    if positions * layers * width * 4 > MAX_TABLE_BYTES:
        raise CheckpointError(
            f"{path} is wrong: {layers} layers of {positions} positions are more than any model has"
        )
