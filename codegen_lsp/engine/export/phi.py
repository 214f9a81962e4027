"""Write a CodeGen checkpoint as a folder with a Phi checkpoint: `config.json`, tokenizer, safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codegen_lsp.engine.checkpoints.shards import ReportBytes, prepare_folder, write_shards
from codegen_lsp.engine.export.as_phi import CodeGenSource, phi_tensors

SHARD_BYTES = 10**9


def export_phi(source: CodeGenSource, folder: Path, report: ReportBytes | None = None) -> None:
    """Write the weights, in their own number format, into a new folder that transformers, vLLM and SGLang load.

    Raises:
        CheckpointError: the folder is not empty, the disk is too small, or the checkpoint is damaged.
    """
    tensors = list(phi_tensors(source))
    prepare_folder(folder, sum(tensor.size for tensor in tensors), f"{source.name} as a Phi checkpoint")
    end = source.tokenizer.id_to_token(source.end)
    ids = {"bos_token_id": source.end, "eos_token_id": source.end, "pad_token_id": source.end}
    _write_json(folder / "config.json", phi_config(source) | ids)
    _write_json(folder / "generation_config.json", ids)
    source.tokenizer.save(str(folder / "tokenizer.json"))
    names = dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), end)
    tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": source.context,
    }
    _write_json(folder / "tokenizer_config.json", tokenizer | names)
    write_shards(tensors, folder, SHARD_BYTES, report)


def phi_config(source: CodeGenSource) -> dict[str, Any]:
    """Return Phi's configuration; the rotations are described as transformers 4 and transformers 5 expect them."""
    rotation = {"rope_theta": 10000.0, "partial_rotary_factor": source.rotary / source.head_width}
    return {
        "architectures": ["PhiForCausalLM"],
        "model_type": "phi",
        "vocab_size": source.vocabulary,
        "hidden_size": source.width,
        "intermediate_size": source.inner,
        "num_hidden_layers": source.layers,
        "num_attention_heads": source.heads,
        "num_key_value_heads": source.heads,
        "max_position_embeddings": source.context,
        "layer_norm_eps": source.epsilon,
        "hidden_act": "gelu_new",
        "qk_layernorm": False,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attention_dropout": 0.0,
        "tie_word_embeddings": False,
        "dtype": str(source.dtype).removeprefix("torch."),
        "torch_dtype": str(source.dtype).removeprefix("torch."),
        **rotation,
        "rope_scaling": None,
        "rope_parameters": {"rope_type": "default", **rotation},
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
