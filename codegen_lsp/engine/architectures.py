"""Which models have a forward pass of this engine's own, as their configurations say."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

OWN = {"codegen": "CodeGen", "llama": "Llama", "qwen2": "Qwen2", "mistral": "Mistral"}
"""Names of these architectures, by transformers' name for the kind of model."""

*_FIRST, _LAST = OWN.values()
OWN_NAMES = f"{', '.join(_FIRST)} and {_LAST}"


def has_own_network(config: PretrainedConfig) -> bool:
    """Return whether a model of a configuration is computed here, if its weights are on one device.

    Relatives of Llama are if all their layers attend to everything before, and positions turn queries and keys by the
    same angles in any text.
    """
    kind = config.model_type
    return kind == "codegen" or (kind in OWN and _is_like_llama(config))


def _is_like_llama(config: Any) -> bool:
    kinds = getattr(config, "layer_types", None) or []
    has_windows = getattr(config, "sliding_window", None) is not None and not kinds
    turns = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    return (
        config.hidden_act == "silu"
        and set(kinds) <= {"full_attention"}
        and not has_windows
        and turns not in ("dynamic", "longrope")
    )
